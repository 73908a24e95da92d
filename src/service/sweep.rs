//! Removing what has expired: lists past their TTL, conversations past the retention.

use super::Service;
use crate::error::Result;

/// Removed per transaction, so that a sweep never holds up the write path for long.
const SWEEP_PAGE: usize = 500;

pub(super) async fn sweep_loop(service: Service) {
    while service.pause(service.settings().sweep_interval).await {
        if let Err(cause) = service.sweep().await {
            service.note_fatal();
            tracing::error!(step = "sweep", %cause, "expired data could not be removed; it stays unreadable and is tried again");
        }
    }
}

impl Service {
    /// Removes everything that has expired by now.
    ///
    /// # Errors
    /// The first failure of a store; what is left is removed by the next sweep.
    pub async fn sweep(&self) -> Result<()> {
        let swept = self.remove_expired().await;
        // Also after a failure, and when nothing had expired: a debt that nobody was told of, such as the list of a chat that
        // its guest's next message has ended, is paid now at the latest.
        self.0.lists.wake();
        swept
    }

    async fn remove_expired(&self) -> Result<()> {
        let now = self.now();
        let (database, lists) = (&self.0.parts.database, &self.0.parts.lists);
        let mut conversations = 0;
        loop {
            let erased = database.expire(now, SWEEP_PAGE).await?.conversations;
            conversations += erased;
            if erased == 0 {
                break; // a database may take fewer at a time than it was asked for
            }
        }
        if conversations > 0 {
            tracing::info!(
                conversations,
                "conversations past the retention were removed"
            );
        }
        let mut lapsed = 0;
        loop {
            let found = database.lapse(now, SWEEP_PAGE).await?;
            lapsed += found;
            if found < SWEEP_PAGE {
                break;
            }
        }
        while lists.sweep(now, SWEEP_PAGE).await? == SWEEP_PAGE {}
        if lapsed > 0 {
            tracing::info!(lists = lapsed, "expired lists were removed");
        }
        Ok(())
    }
}
