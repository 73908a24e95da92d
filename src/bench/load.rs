//! Putting load on. A closed loop finds how much is possible: whoever has an answer asks again. Latency is measured in an open
//! loop, at a rate: requests are due at fixed times, and one that cannot be sent in time because every connection still waits
//! counts from when it was due. So a stall is seen by all who would have met it, and not by the few who were in it.

use super::target::{BenchClient, OperationResult, Target};
use super::workload::Workload;
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Latencies are kept in microseconds up to ten minutes, with three digits.
const LONGEST_US: u64 = 600_000_000;
const DIGITS: u8 = 3;

/// How much load.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) target: Target,
    pub(super) workload: Workload,
    pub(super) connections: usize,
    /// Operations at most.
    pub(super) operations: u64,
    pub(super) at_most: Duration,
    pub(super) counters: Arc<LoadCounters>,
}

/// What all runs of a pair have in common.
#[derive(Debug, Default)]
pub(super) struct LoadCounters {
    /// The number of the next operation: no operation is done twice on the same stores.
    next: AtomicU64,
    /// Messages that were answered as stored.
    pub(super) stored: AtomicU64,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(super) struct RunResult {
    pub(super) done: OperationResult,
    pub(super) seconds: f64,
    /// Microseconds from when an operation was due to its answer.
    pub(super) latency: Histogram<u64>,
}

impl RunResult {
    pub(super) fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.seconds.max(1e-9)
    }
}

pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_US, DIGITS).expect("bounds that the crate documents")
}

/// When the operations of a run are due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    first: u64,
    began: Instant,
    end: Instant,
    /// Operations a second; `None` is as soon as possible.
    rate: Option<f64>,
}

impl Schedule {
    fn due(&self, number: u64) -> Instant {
        let Some(rate) = self.rate else {
            return Instant::now();
        };
        let after = (number - self.first) as f64 / rate;
        self.began + Duration::from_secs_f64(after.min(86_400.0))
    }
}

impl Load {
    /// As many operations as are possible.
    pub(super) async fn closed(&self) -> RunResult {
        self.run(None).await
    }

    /// So many operations a second, whatever the answers do.
    pub(super) async fn open(&self, rate: f64) -> RunResult {
        self.run(Some(rate.max(0.1))).await
    }

    async fn run(&self, rate: Option<f64>) -> RunResult {
        let (clients, step) = self.target.shape(self.connections);
        let first = self.counters.next.load(Ordering::Relaxed);
        let began = Instant::now();
        let schedule = Schedule {
            first,
            began,
            end: began + self.at_most,
            rate,
        };
        let mut workers = JoinSet::new();
        for _ in 0..clients {
            workers.spawn(self.clone().work(schedule, step));
        }
        let (mut done, mut latency) = (OperationResult::default(), histogram());
        while let Some(worked) = workers.join_next().await {
            // A worker that panicked shows as what it did not do.
            let Ok((one, times)) = worked else { continue };
            done.add(one);
            latency.add(times).expect("histograms of the same bounds");
        }
        RunResult {
            done,
            seconds: began.elapsed().as_secs_f64(),
            latency,
        }
    }

    async fn work(self, schedule: Schedule, step: u64) -> (OperationResult, Histogram<u64>) {
        let mut client = BenchClient::new(self.target.clone(), self.workload);
        let (mut done, mut latency) = (OperationResult::default(), histogram());
        loop {
            let number = self.counters.next.fetch_add(step, Ordering::Relaxed);
            let due = schedule.due(number);
            if number + step > schedule.first + self.operations.max(step) || due > schedule.end {
                return (done, latency);
            }
            let since = wait_until(due).await;
            let one = client.perform(number..number + step).await;
            let took = u64::try_from(since.elapsed().as_micros()).unwrap_or(LONGEST_US);
            latency.saturating_record(took.max(1));
            self.counters
                .stored
                .fetch_add(one.writes, Ordering::Relaxed);
            done.add(one);
        }
    }
}

/// Waits until an operation is due; from when its latency counts. Who comes in time is not charged for the timer, whose steps
/// are a millisecond; who comes late is charged from when it was due.
async fn wait_until(due: Instant) -> Instant {
    if due <= Instant::now() {
        return due;
    }
    tokio::time::sleep_until(due.into()).await;
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that answers at once, but for one pause.
    async fn with_a_stall(pause: Duration) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut buffer, mut answered) = ([0; 4096], 0);
            while stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                answered += 1;
                if answered == 20 {
                    tokio::time::sleep(pause).await;
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        });
        address
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stall_is_seen_by_all_who_would_have_met_it() {
        let pause = Duration::from_millis(500);
        let load = Load {
            target: Target::Http(with_a_stall(pause).await),
            workload: Workload::of_seed(7),
            connections: 1,
            operations: 200,
            at_most: Duration::from_secs(60),
            counters: Arc::default(),
        };
        let ran = load.open(200.0).await;
        assert_eq!(ran.done.writes + ran.done.reads, 200, "{:?}", ran.done);
        // Of 200 due in a second, about 100 were due within the half second of the pause.
        let late = ran.latency.count_between(50_000, LONGEST_US);
        assert!(
            late > 50,
            "only {late} of 200 requests met a pause of {pause:?}"
        );
    }
}
