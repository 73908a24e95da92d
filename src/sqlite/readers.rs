//! The threads that read: a few for what is short, two for what takes long, one for readiness.

use super::error::convert;
use super::{NAME, open};
use guestbook_core::error::Result;
use guestbook_storage::scan::SHORT_SCAN;
use guestbook_storage::worker::{Poison, Worker};
use rusqlite::{Connection, Transaction};
use std::path::Path;
use std::sync::Arc;

const QUEUE: usize = 1024;
/// Threads for long reads, at any number of processors: the short ones keep theirs.
pub(super) const LONG: usize = 2;

/// Reading threads, each with a connection.
#[derive(Debug)]
pub(super) struct Readers {
    /// For reads of a bounded number of rows.
    pub(super) short: Worker<Connection>,
    /// For reads through a chat of any length, or through whole tables: no short read waits for one.
    pub(super) long: Worker<Connection>,
    /// For readiness, which waits for no read at all.
    pub(super) probe: Worker<Connection>,
}

/// The number of messages that a read may go through.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScanLimit(pub(super) u64);

/// What a read with a [`ScanLimit`] came to.
#[derive(Debug)]
pub(super) enum Scanned<R> {
    Done(R),
    /// It would go through more messages.
    TooLong,
}

impl Readers {
    pub(super) fn start(path: &Path, poison: &Poison) -> Result<Self> {
        let start = |role, threads| {
            let connections = (0..threads).map(|_| open::reader(path));
            let connections = connections.collect::<Result<_>>()?;
            Worker::spawn(NAME, role, QUEUE, poison.clone(), connections)
        };
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self {
            short: start("reader", threads.clamp(2, 8))?,
            long: start("long-reader", LONG)?,
            probe: start("probe", 1)?,
        })
    }

    /// Runs `work` as a short read, and as a long one if it finds more messages than [`SHORT_SCAN`] to go through.
    pub(super) async fn scan<R: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Fn(&Transaction<'_>, ScanLimit) -> rusqlite::Result<Scanned<R>>
        + Send
        + Sync
        + 'static,
    ) -> Result<R> {
        let work = Arc::new(work);
        let short = Arc::clone(&work);
        let read = read(&self.short, operation, move |tx| {
            short(tx, ScanLimit(SHORT_SCAN))
        });
        if let Scanned::Done(result) = read.await? {
            return Ok(result);
        }
        let read = self::read(&self.long, operation, move |tx| {
            work(tx, ScanLimit(u64::MAX))
        });
        match read.await? {
            Scanned::Done(result) => Ok(result),
            Scanned::TooLong => unreachable!("no chat has as many messages"),
        }
    }

    /// Finishes what is queued and waits for the threads.
    pub(super) async fn close(&self) {
        for readers in [&self.short, &self.long, &self.probe] {
            readers.close().await;
        }
    }
}

/// Runs `work` in one read transaction: a snapshot.
pub(super) async fn read<R: Send + 'static>(
    readers: &Worker<Connection>,
    operation: &'static str,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<R> + Send + 'static,
) -> Result<R> {
    let run = move |connection: &mut Connection| {
        let transaction = connection.transaction()?;
        let result = work(&transaction)?;
        transaction.finish()?;
        Ok(result)
    };
    readers
        .call(operation, move |connection| {
            run(connection).map_err(convert(operation))
        })
        .await
}
