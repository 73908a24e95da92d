//! Counting reads and response times without a write transaction per request: they gather here and ride along with a batch.

use guestbook_core::OwnerId;
use guestbook_storage::database::{OwnerTime, Tally};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counters are handed on at most this often, so that a busy owner costs one statement a second and not one a message.
const GATHER: Duration = Duration::from_secs(1);

/// What has been counted and not been written yet. Lost by a crash: at most about a second of it.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<Gathering>);

#[derive(Debug, Default)]
struct Gathering {
    tally: Tally,
    owners: HashMap<OwnerId, (u64, f64)>,
    since: Option<Instant>,
}

impl Counters {
    /// Counts a read and its time.
    pub(super) fn read(&self, found: bool, took: Duration) {
        self.with(|gathering| {
            gathering.tally.hits += u64::from(found);
            gathering.tally.misses += u64::from(!found);
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

    /// What has gathered, if it has gathered long enough.
    pub(super) fn take_due(&self) -> Tally {
        self.with(|gathering| match gathering.since {
            Some(since) if since.elapsed() >= GATHER => gathering.take(),
            _ => Tally::default(),
        })
    }

    /// What has gathered so far.
    pub(super) fn take(&self) -> Tally {
        self.with(Gathering::take)
    }

    /// Takes back what could not be written.
    pub(super) fn put_back(&self, tally: Tally) {
        self.with(|gathering| {
            gathering.since.get_or_insert_with(Instant::now);
            for time in &tally.owners {
                let (requests, total_ms) = gathering.owners.entry(time.owner.clone()).or_default();
                *requests += time.requests;
                *total_ms += time.total_ms;
            }
            gathering.tally.add(Tally {
                owners: Vec::new(),
                ..tally
            });
        });
    }

    fn with<R>(&self, work: impl FnOnce(&mut Gathering) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Gathering {
    fn time(&mut self, took: Duration) {
        self.since.get_or_insert_with(Instant::now);
        self.tally.timed += 1;
        self.tally.timed_ms += milliseconds(took);
    }

    fn take(&mut self) -> Tally {
        self.since = None;
        let mut tally = std::mem::take(&mut self.tally);
        let owner_time = |(owner, (requests, total_ms))| OwnerTime {
            owner,
            requests,
            total_ms,
        };
        tally.owners = self.owners.drain().map(owner_time).collect();
        tally
    }
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
