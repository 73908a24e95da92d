//! How many reads are under way at once: what has been read is held in memory until it is written as JSON, and has room.

use super::Service;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Short reads at once. More than a database has connections for, so that nobody waits here for long.
const SHORT_AT_ONCE: usize = 32;
/// Steps of long reads at once.
const LONG_AT_ONCE: usize = 2;

/// Who may read. Long reads wait for each other, and short ones for none of them.
#[derive(Debug)]
pub(super) struct ReadLimit {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl Default for ReadLimit {
    fn default() -> Self {
        Self {
            short: Arc::new(Semaphore::new(SHORT_AT_ONCE)),
            long: Arc::new(Semaphore::new(LONG_AT_ONCE)),
        }
    }
}

/// The right to read, and to hold what was read, until it is dropped.
#[derive(Debug)]
pub struct ReadPermit(#[allow(dead_code)] Option<OwnedSemaphorePermit>);

impl ReadPermit {
    /// Messages of a short read: with the largest allowed contents 4 MiB.
    pub const SHORT: usize = 64;
}

impl Service {
    /// Waits for the right to a short read.
    pub async fn read_permit(&self) -> ReadPermit {
        permit(&self.0.read_limit.short).await
    }

    /// Waits for the right to a long one; meanwhile nothing that was read should be held.
    pub(super) async fn long_read_permit(&self) -> ReadPermit {
        permit(&self.0.read_limit.long).await
    }
}

async fn permit(limit: &Arc<Semaphore>) -> ReadPermit {
    ReadPermit(Arc::clone(limit).acquire_owned().await.ok()) // it is never closed
}
