//! Counts of reads and response times, gathered in memory and written with a batch instead of one transaction per request.

use guestbook_core::OwnerId;
use guestbook_storage::database::{CounterDeltas, OwnerTime};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counters are written at most this often: a busy owner costs one statement a second, not one per message.
const GATHER: Duration = Duration::from_secs(1);

/// Counters not written yet. A crash loses at most about a second of them.
#[derive(Debug, Default)]
pub(super) struct MetricsCounters(Mutex<MetricsDeltas>);

#[derive(Debug, Default)]
struct MetricsDeltas {
    deltas: CounterDeltas,
    owners: HashMap<OwnerId, (u64, f64)>,
    since: Option<Instant>,
}

impl MetricsCounters {
    /// Counts a read and its time.
    pub(super) fn read(&self, found: bool, took: Duration) {
        self.with(|gathering| {
            gathering.deltas.hits += u64::from(found);
            gathering.deltas.misses += u64::from(!found);
            gathering.time(took);
        });
    }

    /// Times a request that stored messages; the messages themselves are counted where they are stored.
    pub(super) fn write(&self, owners: Vec<OwnerId>, took: Duration) {
        self.with(|gathering| {
            gathering.time(took);
            for owner in owners {
                let (requests, total_ms) = gathering.owners.entry(owner).or_default();
                *requests += 1;
                *total_ms += milliseconds(took);
            }
        });
    }

    /// The gathered counters, if the interval has passed.
    pub(super) fn take_due(&self) -> CounterDeltas {
        self.with(|gathering| match gathering.since {
            Some(since) if since.elapsed() >= GATHER => gathering.take(),
            _ => CounterDeltas::default(),
        })
    }

    /// The gathered counters.
    pub(super) fn take(&self) -> CounterDeltas {
        self.with(MetricsDeltas::take)
    }

    /// Merges back counters that could not be written.
    pub(super) fn put_back(&self, deltas: CounterDeltas) {
        self.with(|gathering| {
            gathering.since.get_or_insert_with(Instant::now);
            for time in &deltas.owners {
                let (requests, total_ms) = gathering.owners.entry(time.owner.clone()).or_default();
                *requests += time.requests;
                *total_ms += time.total_ms;
            }
            gathering.deltas.add(CounterDeltas {
                owners: Vec::new(),
                ..deltas
            });
        });
    }

    fn with<R>(&self, work: impl FnOnce(&mut MetricsDeltas) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MetricsDeltas {
    fn time(&mut self, took: Duration) {
        self.since.get_or_insert_with(Instant::now);
        self.deltas.timed += 1;
        self.deltas.timed_ms += milliseconds(took);
    }

    fn take(&mut self) -> CounterDeltas {
        self.since = None;
        let mut deltas = std::mem::take(&mut self.deltas);
        let owner_time = |(owner, (requests, total_ms))| OwnerTime {
            owner,
            requests,
            total_ms,
        };
        deltas.owners = self.owners.drain().map(owner_time).collect();
        deltas
    }
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
