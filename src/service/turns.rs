//! How many answers are made at once: what has been read for them is held in memory until they are on their way.

use super::Service;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Short answers that are made at once. More than a database has connections for, so that nobody waits here for long.
const SHORT_AT_ONCE: usize = 32;
/// Long answers that are made at once.
const LONG_AT_ONCE: usize = 2;

/// Whose turn it is. Long answers wait for each other, and short ones for none of them.
#[derive(Debug)]
pub(super) struct Turns {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            short: Arc::new(Semaphore::new(SHORT_AT_ONCE)),
            long: Arc::new(Semaphore::new(LONG_AT_ONCE)),
        }
    }
}

/// The right to make an answer, until all clones are dropped.
#[derive(Clone, Debug)]
pub struct Turn(#[allow(dead_code)] Option<Arc<OwnedSemaphorePermit>>);

impl Turn {
    /// Messages that are read for a short answer before it is known how long it will be: with the largest allowed contents 4 MiB.
    pub const SHORT: usize = 64;
}

impl Service {
    /// Waits for a turn to make a short answer.
    pub async fn turn(&self) -> Turn {
        wait(&self.0.turns.short).await
    }

    /// Waits for a turn to make a long one; meanwhile nothing that was read should be held.
    pub(super) async fn long_turn(&self) -> Turn {
        wait(&self.0.turns.long).await
    }
}

async fn wait(turns: &Arc<Semaphore>) -> Turn {
    let turn = Arc::clone(turns).acquire_owned().await;
    Turn(turn.ok().map(Arc::new)) // it is never closed
}
