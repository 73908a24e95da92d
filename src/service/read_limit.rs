//! Limits concurrent reads: rows are held in memory until they are serialized as JSON and the response has memory.

use super::Service;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Concurrent short reads. More than a database has connections, so that this limit rarely blocks.
const SHORT_AT_ONCE: usize = 32;
/// Concurrent steps of reads that are sent while they are read.
const STEPS_AT_ONCE: usize = 2;

/// The read limits.
///
/// A read in one piece keeps its permit until its response has memory; a step of a stream has memory and waits for a permit. So
/// the two never share one: they would wait for each other.
#[derive(Debug)]
pub(super) struct ReadLimit {
    short: Arc<Semaphore>,
    steps: Arc<Semaphore>,
}

impl Default for ReadLimit {
    fn default() -> Self {
        Self {
            short: Arc::new(Semaphore::new(SHORT_AT_ONCE)),
            steps: Arc::new(Semaphore::new(STEPS_AT_ONCE)),
        }
    }
}

/// Permission to read and to hold the rows in memory, until it is dropped.
#[derive(Debug)]
pub struct ReadPermit(#[allow(dead_code)] Option<OwnedSemaphorePermit>);

impl ReadPermit {
    /// Messages of a short read: with the largest allowed contents 4 MiB.
    pub const SHORT: usize = 64;
}

impl Service {
    /// Waits for a permit of a short read.
    pub async fn read_permit(&self) -> ReadPermit {
        permit(&self.0.read_limit.short).await
    }

    /// Waits for a permit of a step whose response has memory; it must be dropped before more memory is waited for.
    pub(super) async fn step_permit(&self) -> ReadPermit {
        permit(&self.0.read_limit.steps).await
    }
}

async fn permit(limit: &Arc<Semaphore>) -> ReadPermit {
    ReadPermit(Arc::clone(limit).acquire_owned().await.ok()) // it is never closed
}
