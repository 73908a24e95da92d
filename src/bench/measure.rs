//! A pair of stores, from its first to its last figure.

use super::BenchError;
use super::counting::{self, OperationCounts};
use super::load::{Load, LoadCounters, RunResult, histogram};
use super::options::BenchTarget;
use super::plan::{BenchPlan, StorePair};
use super::process::{cpu_seconds, resident_bytes};
use super::progress::Progress;
use super::scratch_stores::{ScratchSpace, ScratchStores, close};
use super::server::{BenchServer, ServerStats};
use super::storage::DirectTarget;
use super::target::Target;
use super::workload::Workload;
use guestbook_storage::DurabilityReport;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Everything that was measured of a pair.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) pair: StorePair,
    /// What tables and lists promise.
    pub(super) promises: Option<[DurabilityReport; 2]>,
    pub(super) runs: BTreeMap<usize, RunSeries>,
    /// Bytes on disk per message, one for each round.
    pub(super) disk: Vec<f64>,
    /// Milliseconds from the start after a kill to ready.
    pub(super) ready_ms: Vec<f64>,
    /// Messages stored and bytes on disk, in the first round.
    pub(super) growth: Vec<(u64, u64)>,
}

/// What was measured of a pair at one number of connections, one value for each round.
#[derive(Debug)]
pub(super) struct RunSeries {
    pub(super) messages_per_s: Vec<f64>,
    pub(super) reads_per_s: Vec<f64>,
    pub(super) offered_per_s: Vec<f64>,
    pub(super) p50_ms: Vec<f64>,
    pub(super) p99_ms: Vec<f64>,
    pub(super) p999_ms: Vec<f64>,
    pub(super) cpu_s_per_1000: Vec<f64>,
    pub(super) resident_mib: Vec<f64>,
    /// Latencies of all rounds, in microseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) errors: u64,
    pub(super) counts: Option<OperationCounts>,
}

/// What is measured: a server, or stores in this process.
enum Subject {
    Server(BenchServer),
    Stores(Arc<DirectTarget>),
}

impl Series {
    pub(super) fn new(pair: StorePair) -> Self {
        Self {
            pair,
            promises: None,
            runs: BTreeMap::new(),
            disk: Vec::new(),
            ready_ms: Vec::new(),
            growth: Vec::new(),
        }
    }
}

impl RunSeries {
    fn new() -> Self {
        Self {
            messages_per_s: Vec::new(),
            reads_per_s: Vec::new(),
            offered_per_s: Vec::new(),
            p50_ms: Vec::new(),
            p99_ms: Vec::new(),
            p999_ms: Vec::new(),
            cpu_s_per_1000: Vec::new(),
            resident_mib: Vec::new(),
            latency: histogram(),
            errors: 0,
            counts: None,
        }
    }

    fn note_closed(&mut self, ran: &RunResult, cpu: Option<f64>) {
        self.messages_per_s.push(ran.per_second(ran.done.writes));
        self.reads_per_s.push(ran.per_second(ran.done.reads));
        self.errors += ran.done.errors;
        if let Some(cpu) = cpu.filter(|_| ran.done.writes > 0) {
            self.cpu_s_per_1000
                .push(cpu * 1000.0 / ran.done.writes as f64);
        }
    }

    fn note_open(&mut self, ran: &RunResult, rate: f64) {
        let ms = |quantile| ran.latency.value_at_quantile(quantile) as f64 / 1000.0;
        self.offered_per_s.push(rate);
        self.p50_ms.push(ms(0.5));
        self.p99_ms.push(ms(0.99));
        self.p999_ms.push(ms(0.999));
        self.errors += ran.done.errors;
        self.latency
            .add(&ran.latency)
            .expect("histograms of the same bounds");
    }
}

impl Subject {
    async fn start(stores: &ScratchStores, through: BenchTarget) -> Result<Self, BenchError> {
        Ok(match through {
            BenchTarget::Http => {
                Self::Server(BenchServer::start(stores, &ServerStats::Nothing).await?)
            }
            BenchTarget::Storage => {
                let parts = stores.open().await?;
                Self::Stores(Arc::new(DirectTarget::new(
                    parts,
                    stores.settings.list_ttl.0,
                )))
            }
        })
    }

    fn target(&self) -> Target {
        match self {
            Self::Server(server) => Target::Http(server.address),
            Self::Stores(stores) => Target::Storage(Arc::clone(stores)),
        }
    }

    /// The process whose time and memory count; in this process, that is the bench as well.
    fn process(&self) -> u32 {
        match self {
            Self::Server(server) => server.id,
            Self::Stores(_) => std::process::id(),
        }
    }

    /// Ends it, a server by a kill; how long the next one took to be ready, in milliseconds.
    async fn end(self, stores: &ScratchStores) -> Result<Option<f64>, BenchError> {
        match self {
            Self::Server(server) => {
                server.kill()?;
                let server = BenchServer::start(stores, &ServerStats::Nothing).await?;
                let took = server.ready_after.as_secs_f64() * 1000.0;
                server.stop().await?;
                Ok(Some(took))
            }
            Self::Stores(stores) => {
                close(&stores.parts).await?;
                Ok(None)
            }
        }
    }
}

/// Measures everything of a pair once, on empty stores.
pub(super) async fn round(
    space: &ScratchSpace,
    plan: &BenchPlan,
    series: &mut Series,
    number: usize,
    progress: &Progress,
) -> Result<(), BenchError> {
    let stores = Arc::new(space.make(series.pair).await?);
    let empty = stores.bytes().await;
    let subject = Subject::start(&stores, plan.through).await?;
    let counters = Arc::new(LoadCounters::default());
    let growth = (number == 0).then(|| DiskGrowth::watch(&stores, &counters));
    for connections in &plan.connections {
        let load = Load {
            target: subject.target(),
            workload: Workload::of(plan),
            connections: *connections,
            operations: plan.messages as u64,
            at_most: plan.at_most,
            counters: Arc::clone(&counters),
        };
        let runs = series
            .runs
            .entry(*connections)
            .or_insert_with(RunSeries::new);
        progress.begin(series.pair, *connections, "as many as possible");
        let before = cpu_seconds(subject.process());
        let ran = load.closed().await;
        let used = before.zip(cpu_seconds(subject.process()));
        runs.note_closed(&ran, used.map(|(before, after)| after - before));
        progress.done();
        progress.begin(series.pair, *connections, "latency at a given rate");
        let possible = ran.per_second(ran.done.writes + ran.done.reads);
        let rate = possible * f64::from(plan.load) / 100.0;
        runs.note_open(&load.open(rate).await, rate);
        let resident = resident_bytes(subject.process());
        runs.resident_mib
            .extend(resident.map(|bytes| bytes as f64 / 1_048_576.0));
        progress.done();
    }
    series.ready_ms.extend(subject.end(&stores).await?);
    if let Some(growth) = growth {
        series.growth = growth.seen();
    }
    let stored = counters.stored.load(Ordering::Relaxed);
    if let (Some(empty), Some(full), true) = (empty, stores.bytes().await, stored > 0) {
        series
            .disk
            .push(full.saturating_sub(empty) as f64 / stored as f64);
    }
    stores.close().await?;
    series.promises = Some(stores.promises.clone());
    drop(stores);
    if number == 0 && plan.through == BenchTarget::Http {
        counting::pass(space, plan, series, progress).await?;
    }
    Ok(())
}

/// The disk, looked at while messages come.
struct DiskGrowth {
    seen: Arc<Mutex<Vec<(u64, u64)>>>,
    watching: tokio::task::JoinHandle<()>,
}

impl DiskGrowth {
    fn watch(stores: &Arc<ScratchStores>, counters: &Arc<LoadCounters>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stores, counters, into) =
            (Arc::clone(stores), Arc::clone(counters), Arc::clone(&seen));
        let watching = tokio::spawn(async move {
            loop {
                let stored = counters.stored.load(Ordering::Relaxed);
                let Some(bytes) = stores.bytes().await else {
                    return;
                };
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((stored, bytes));
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { seen, watching }
    }

    fn seen(self) -> Vec<(u64, u64)> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for DiskGrowth {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
