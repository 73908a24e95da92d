//! Batches and fsyncs are counted in a pass of its own, so that counting slows nothing that is timed: batches by the server's
//! log, fsyncs by strace, which with the kernel's own filter stops at nothing else. Where there is no strace, they are not
//! counted. The fsyncs of a PostgreSQL or Redis are its own, and none of these.

use super::BenchError;
use super::load::{Load, LoadCounters};
use super::measure::Series;
use super::plan::BenchPlan;
use super::progress::Progress;
use super::scratch_stores::ScratchSpace;
use super::server::{BenchServer, ServerStats};
use super::target::Target;
use super::workload::Workload;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A pass is short: it is counted, not timed.
const AT_MOST: Duration = Duration::from_secs(3);
/// How long the last lines of a log may be on their way.
const LOG_DELAY: Duration = Duration::from_millis(100);

/// What was counted at one number of connections.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct OperationCounts {
    /// Messages of a batch.
    pub(super) batch_mean: f64,
    pub(super) batch_p50: u64,
    pub(super) batch_max: u64,
    /// fsync and fdatasync of the server, per 1,000 messages; `None` where there is no strace.
    pub(super) fsyncs_per_1000: Option<f64>,
}

/// Counts at each number of connections, on empty stores.
pub(super) async fn pass(
    space: &ScratchSpace,
    plan: &BenchPlan,
    series: &mut Series,
    progress: &Progress,
) -> Result<(), BenchError> {
    let stores = space.make(series.pair).await?;
    let trace = has_strace().then(|| stores.folder.path().join("fsyncs.txt"));
    let server = BenchServer::start(&stores, &ServerStats::Everything(trace.clone())).await?;
    let counters = Arc::new(LoadCounters::default());
    for connections in &plan.connections {
        progress.begin(series.pair, *connections, "counting batches and fsyncs");
        let load = Load {
            target: Target::Http(server.address),
            workload: Workload::of(plan),
            connections: *connections,
            operations: plan.messages as u64,
            at_most: plan.at_most.min(AT_MOST),
            counters: Arc::clone(&counters),
        };
        server.take_batches();
        let before = trace.as_deref().map(fsyncs);
        let ran = load.closed().await;
        let after = trace.as_deref().map(fsyncs);
        tokio::time::sleep(LOG_DELAY).await;
        let mut batches = server.take_batches();
        batches.sort_unstable();
        let per_1000 = |count: u64| count as f64 * 1000.0 / ran.done.writes.max(1) as f64;
        let counts = batches.last().map(|max| OperationCounts {
            batch_mean: batches.iter().sum::<u64>() as f64 / batches.len() as f64,
            batch_p50: batches[batches.len() / 2],
            batch_max: *max,
            fsyncs_per_1000: before
                .zip(after)
                .map(|(before, after)| per_1000(after - before)),
        });
        if let Some(runs) = series.runs.get_mut(connections) {
            runs.counts = counts;
            runs.errors += ran.done.errors;
        }
        progress.done();
    }
    server.stop().await?;
    stores.close().await
}

fn has_strace() -> bool {
    // Where processes may not be traced, an installed strace is of no use.
    let mut command = Command::new("strace");
    command.args(["-f", "--seccomp-bpf", "-qq", "-e", "trace=fsync", "true"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Calls in a trace; one that was interrupted by another thread's is told in two lines, of which the first counts.
fn fsyncs(trace: &Path) -> u64 {
    let text = std::fs::read_to_string(trace).unwrap_or_default();
    count(&text)
}

fn count(trace: &str) -> u64 {
    let is_call = |line: &&str| line.contains(" fsync(") || line.contains(" fdatasync(");
    trace.lines().filter(is_call).count() as u64
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_call_told_in_two_lines_counts_once() {
        let trace =
            "17 fdatasync(7 <unfinished ...>\n18 fsync(9) = 0\n17 <... fdatasync resumed>) = 0\n";
        assert_eq!(super::count(trace), 2);
    }
}
