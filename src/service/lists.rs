//! Keeping the lists in step with the tables.
//!
//! A list write is noted in the tables (`is_synced`) only once it is durable, so that after a crash or a power cut the
//! tables owe exactly what the lists may lack. The notes ride along with later batches. What a list lacks is rebuilt from
//! the tables, by one idempotent step that reconciles a guest's session list whatever state it is in ([`Service::reconcile`]).

use super::Service;
use guestbook_core::error::Result;
use guestbook_core::{GuestId, rounded_ms};
use guestbook_failpoint as failpoint;
use std::time::Duration;
use uuid::Uuid;

/// The wait after a failed reconciliation; it doubles to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often the list cache's incarnation is compared: no event says that it has lost its lists.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Makes list writes durable and notes them, again and again.
pub(super) async fn mark_loop(service: Service) {
    while service.pause(service.settings().sync_mark_interval).await {
        let synced_ranges = service.mark_round().await;
        if let Err(cause) = synced_ranges {
            tracing::error!(step = "mark_synced", %cause, "failed to persist list sync marks, retrying");
        }
    }
}

/// Reconciles session lists: at the start, whenever a list write has failed, and when the list cache has lost lists.
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
                tracing::warn!(step = "list", %cause, retry_in_ms = rounded_ms(wait), "the lists cannot be mended yet");
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
    /// Completes when the list store is another one than this, or cannot say.
    async fn lists_replaced(&self, incarnation: Uuid) {
        while self.pause(WATCH_INTERVAL).await {
            match self.0.parts.lists.incarnation().await {
                Ok(found) if found == incarnation => {}
                Ok(_) => {
                    tracing::warn!(
                        step = "list",
                        "the list store was emptied or started anew; every list is compared with the tables"
                    );
                    return;
                }
                Err(cause) => return self.0.lists.suspend(&cause.to_string()),
            }
        }
        std::future::pending().await // the service stops, which whoever waits here sees as well
    }

    /// Makes everything applied so far durable and notes it, without waiting for the interval.
    ///
    /// # Errors
    /// Those of the two stores; what could not be noted is found again by mending.
    pub async fn mark_synced(&self) -> Result<()> {
        let _turn = self.0.lists.settling.lock().await;
        self.make_durable().await?;
        self.note_durable().await
    }

    /// One round of the interval: notes what no batch has carried since the last round, then makes the rest durable.
    async fn mark_round(&self) -> Result<()> {
        let _turn = self.0.lists.settling.lock().await;
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
            // The notes are dropped: the tables still say that these lists lack something.
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

    /// Has a list rebuilt whose chat has begun anew elsewhere in the moment before the old list was removed.
    async fn begun_again(&self, guest: &GuestId) {
        let row = self.stores().outbox.list_row(guest, self.now()).await;
        if !matches!(row, Ok(None)) {
            self.0.lists.mark_suspect(guest.clone());
        }
    }

    /// Removes a guest's list at once if the store lets us, else later; whether it is gone already.
    pub(super) async fn remove_list(&self, guest: GuestId) -> bool {
        if self.0.lists.is_suspended() {
            self.0.lists.note_refused(guest);
            return false; // the tables remember that it must go
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
                self.0.lists.wake(); // a long list takes its time; that is no fault of the store
                false
            }
        }
    }
}
