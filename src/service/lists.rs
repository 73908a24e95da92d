//! Keeping the session lists in step with the tables.
//!
//! A list write is marked in the tables (`is_synced`) only once it is durable, so that after a crash or a power cut the
//! outbox names exactly what the lists may lack. Later batches carry the marks. A list that lacks something is rebuilt from
//! the tables by one idempotent step (`list_reconciler`).

use super::Service;
use guestbook_core::error::Result;
use guestbook_core::{GuestId, rounded_ms};
use guestbook_failpoint as failpoint;
use std::time::Duration;
use uuid::Uuid;

/// The wait after a failed reconciliation; it doubles to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often the list store's incarnation is polled: a store that lost its lists does not say so.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Periodically makes list writes durable and marks them as synced.
pub(super) async fn mark_loop(service: Service) {
    while service.pause(service.settings().sync_mark_interval).await {
        let synced_ranges = service.mark_round().await;
        if let Err(cause) = synced_ranges {
            tracing::error!(step = "mark_synced", %cause, "failed to persist list sync marks");
        }
    }
}

/// Reconciles the lists: at the start, whenever a list write has failed, and when the list store has lost lists.
pub(super) async fn reconcile_loop(service: Service) {
    let mut wait = FIRST_WAIT;
    let mut compared = None;
    loop {
        let again = match service.reconcile_all(compared).await {
            Ok(incarnation) => {
                compared = Some(incarnation);
                wait = FIRST_WAIT;
                tokio::select! {
                    () = service.0.lists.wake.notified() => true,
                    () = service.stopped() => false,
                    () = service.lists_replaced(incarnation) => true,
                }
            }
            Err(cause) => {
                service.note_fatal();
                if cause.backend() == service.0.parts.lists.name() {
                    service.0.lists.suspend(&cause.to_string());
                }
                tracing::warn!(step = "list", %cause, retry_in_ms = rounded_ms(wait), "list reconciliation failed, retrying");
                let again = service.pause(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
                again
            }
        };
        if !again {
            return;
        }
    }
}

impl Service {
    /// Completes when the list store has another incarnation, or cannot report one.
    async fn lists_replaced(&self, incarnation: Uuid) {
        while self.pause(WATCH_INTERVAL).await {
            match self.0.parts.lists.incarnation().await {
                Ok(found) if found == incarnation => {}
                Ok(_) => {
                    tracing::warn!(
                        step = "list",
                        "the list store was emptied or restarted; comparing every list with the tables"
                    );
                    return;
                }
                Err(cause) => return self.0.lists.suspend(&cause.to_string()),
            }
        }
        std::future::pending().await // the service stops: the caller's `select!` sees it too
    }

    /// Makes everything applied so far durable and marks it as synced, without waiting for the interval.
    ///
    /// # Errors
    /// Those of the two stores; reconciliation finds again what could not be marked.
    pub async fn mark_synced(&self) -> Result<()> {
        let _marking = self.0.lists.marking.lock().await;
        self.make_durable().await?;
        self.note_durable().await
    }

    /// One round of the interval: writes the marks that no batch carried since the last round, then makes the rest durable.
    async fn mark_round(&self) -> Result<()> {
        let _marking = self.0.lists.marking.lock().await;
        self.note_durable().await?;
        self.make_durable().await
    }

    async fn make_durable(&self) -> Result<()> {
        let (applied, removed) = self.0.lists.take_applied();
        if applied.is_empty() && removed.is_empty() {
            return Ok(());
        }
        failpoint::reach("flush.before");
        if let Err(cause) = self.0.parts.lists.flush().await {
            // The marks are dropped: the outbox still has entries for these lists.
            self.0.lists.suspend(&cause.to_string());
            return Err(cause);
        }
        failpoint::reach("flush.after");
        self.0.lists.put_back_durable(applied);
        let removed = self.0.lists.still_removed(removed);
        if !removed.is_empty() {
            self.stores().outbox.removals_done(removed).await?;
        }
        Ok(())
    }

    async fn note_durable(&self) -> Result<()> {
        let synced_ranges = self.0.lists.take_durable(usize::MAX);
        let deltas = if synced_ranges.is_empty() {
            self.0.metrics.take_due()
        } else {
            self.0.metrics.take()
        };
        if synced_ranges.is_empty() && deltas.is_empty() {
            return Ok(());
        }
        let outbox = &self.stores().outbox;
        let noted = outbox
            .mark_synced(synced_ranges.clone(), deltas.clone(), self.now())
            .await;
        if noted.is_err() {
            self.0.lists.put_back_durable(synced_ranges);
            self.0.metrics.put_back(deltas);
            self.note_fatal();
        }
        noted
    }

    /// Rebuilds a list whose chat was begun again elsewhere just before the old list was removed.
    async fn begun_again(&self, guest: &GuestId) {
        let row = self.stores().outbox.list_row(guest, self.now()).await;
        if !matches!(row, Ok(None)) {
            self.0.lists.mark_suspect(guest.clone());
        }
    }

    /// Removes a guest's list at once if the store allows it, else later; returns whether it is removed already.
    pub(super) async fn remove_list(&self, guest: GuestId) -> bool {
        if self.0.lists.is_suspended() {
            self.0.lists.note_refused(guest);
            return false; // its outbox entry stays
        }
        let removing = self.0.parts.lists.remove(vec![guest.clone()]);
        match tokio::time::timeout(self.settings().list_budget, removing).await {
            Ok(Ok(())) => {
                self.0.lists.note_removed(guest.clone());
                self.begun_again(&guest).await;
                true
            }
            Ok(Err(cause)) => {
                self.0.lists.note_refused(guest);
                self.0.lists.suspend(&cause.to_string());
                false
            }
            Err(_) => {
                self.0.lists.note_refused(guest);
                self.0.lists.wake(); // slow because the list is long, not because the store fails
                false
            }
        }
    }
}
