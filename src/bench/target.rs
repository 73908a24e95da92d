//! Whom the operations are sent to, and by whom.

use super::storage::DirectTarget;
use super::wire::HttpConnection;
use super::workload::{Operation, Workload};
use guestbook_core::{Clock, SystemClock};
use std::io::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// An operation that takes longer counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whom the operations are sent to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Http(SocketAddr),
    Storage(Arc<DirectTarget>),
}

/// What became of some operations.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct OperationResult {
    pub(super) writes: u64,
    pub(super) reads: u64,
    pub(super) errors: u64,
}

impl OperationResult {
    pub(super) fn add(&mut self, other: Self) {
        self.writes += other.writes;
        self.reads += other.reads;
        self.errors += other.errors;
    }
}

/// One who does one thing after the other.
#[derive(Debug)]
pub(super) struct BenchClient {
    target: Target,
    workload: Workload,
    wire: Option<HttpConnection>,
    request: Vec<u8>,
}

impl Target {
    /// How many clients there are, and how many operations each does at a time.
    pub(super) fn shape(&self, connections: usize) -> (usize, u64) {
        match self {
            Self::Http(_) => (connections, 1),
            Self::Storage(stores) => (stores.writers(), connections as u64),
        }
    }
}

impl BenchClient {
    pub(super) fn new(target: Target, workload: Workload) -> Self {
        Self {
            target,
            workload,
            wire: None,
            request: Vec::with_capacity(1024),
        }
    }

    /// Does the operations of these numbers.
    pub(super) async fn perform(&mut self, numbers: Range<u64>) -> OperationResult {
        let count = numbers.end - numbers.start;
        let failed = OperationResult {
            errors: count,
            ..OperationResult::default()
        };
        let target = self.target.clone();
        let performing = async {
            match target {
                Target::Storage(stores) => {
                    let workload = self.workload;
                    let operations = numbers.map(|number| workload.operation(number));
                    stores.perform(operations.collect()).await
                }
                Target::Http(address) => self.ask(address, numbers.start).await,
            }
        };
        match tokio::time::timeout(PATIENCE, performing).await {
            Ok(done) => done,
            Err(_) => {
                self.wire = None; // an answer may still come, and would be taken for the next one
                failed
            }
        }
    }

    async fn ask(&mut self, address: SocketAddr, number: u64) -> OperationResult {
        let operation = self.workload.operation(number);
        self.request.clear();
        write_request(&mut self.request, &operation);
        let mut done = OperationResult::default();
        let counted = match operation {
            Operation::Write { .. } => &mut done.writes,
            Operation::Read { .. } => &mut done.reads,
        };
        match self.status(address).await {
            Some(200) => *counted = 1,
            _ => done.errors = 1,
        }
        done
    }

    async fn status(&mut self, address: SocketAddr) -> Option<u16> {
        let wire = match &mut self.wire {
            Some(wire) => wire,
            none => none.insert(HttpConnection::connect(address).await.ok()?),
        };
        let answered = wire.ask(&self.request).await;
        if answered.is_err() {
            self.wire = None;
        }
        answered.ok()
    }
}

fn write_request(into: &mut Vec<u8>, operation: &Operation) {
    let written = match operation {
        Operation::Read { guest } => write!(
            into,
            "GET /v1/guest/chat/{guest}?limit=50 HTTP/1.1\r\nHost: bench\r\n\r\n"
        ),
        Operation::Write { guest, role, text } => {
            // The words of the workload need no escapes.
            let now = SystemClock.now();
            let body = format!(r#"{{"role":"{role}","content":"{text}","timestamp":"{now}"}}"#);
            write!(
                into,
                "POST /v1/guest/chat/{guest} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        }
    };
    written.expect("a Vec takes every byte");
}
