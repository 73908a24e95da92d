//! Settings stored with the data: applying a changed setting to existing lists and chats, and detecting the changes of other
//! nodes.

use super::{Service, ServiceParts};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_failpoint as failpoint;
use guestbook_storage::database::StoredSettings;
use guestbook_storage::list_cache::{NewLife, Origin};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lists or chats updated per page: other writes run between two pages.
const PAGE: usize = 500;
/// Poll interval for changes by other nodes, which must be seen within a second. Each poll reads a table of some
/// 15 rows.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// This process's view of the shared settings.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The model that the other nodes use, if it is not ours.
    foreign_model: Mutex<Option<String>>,
    /// Held while a change is applied, so that it is applied once.
    carrying: tokio::sync::Mutex<()>,
}

/// Applies changed settings to every chat and list, page by page, from where an earlier process stopped; returns the number
/// of lists. Each page is idempotent: the list store first, then the rows.
///
/// # Errors
/// The first failure of a store; the next call does the rest.
pub async fn carry_out(parts: &ServiceParts, go_on: impl Fn() -> bool) -> Result<u64> {
    let (database, mut done) = (&parts.database, 0);
    while go_on() && database.settings.retain_some(PAGE).await? {}
    while go_on() {
        let next = database
            .settings
            .lists_to_retime(parts.clock.now(), PAGE)
            .await?;
        let Some(page) = next else { break };
        let lives = page.lists.iter().map(|list| NewLife {
            guest: list.guest.clone(),
            origin: Origin {
                epoch: database.outbox.epoch(),
                conversation: list.conversation,
            },
            next: list.next,
            expires_at: list.expires_at,
            at: page.at,
        });
        let lives: Vec<_> = lives.collect();
        let count = lives.len() as u64;
        if count > 0 {
            parts.lists.retime(lives).await?;
            parts.lists.flush().await?;
        }
        failpoint::reach("retime.mid");
        database.settings.note_retimed(page).await?;
        if count == 0 {
            break;
        }
        done += count;
        tracing::info!(lists = done, "lists have their new TTL");
    }
    Ok(done)
}

/// Adopts the changes of other nodes, and resumes what they began and abandoned.
pub(super) async fn look_loop(service: Service) {
    let mut before: Option<StoredSettings> = None;
    loop {
        let looked = service.stores().settings.refresh_settings().await;
        match looked {
            Ok(None) => return service.stopped().await, // no other node can change them
            Ok(Some(stored)) => {
                service.follow(before.as_ref(), &stored).await;
                before = Some(stored);
            }
            Err(cause) => {
                tracing::debug!(step = "settings", %cause, "failed to read the shared settings");
            }
        }
        if !service.pause(LOOK_INTERVAL).await {
            return;
        }
    }
}

impl Service {
    async fn follow(&self, before: Option<&StoredSettings>, stored: &StoredSettings) {
        let ours = self.parts().embedder.as_ref();
        let ours = ours.map_or_else(|| "none".to_owned(), |it| it.model().to_string());
        let theirs = stored.held.as_ref().map(|held| held.model.clone());
        self.note_model(theirs.filter(|theirs| *theirs != ours));
        // The node that changed the settings applies them. No progress between two polls means that it stopped.
        let is_left = before.is_some_and(|before| {
            let place = |it: &StoredSettings| (it.version, it.retiming, it.is_retaining);
            place(before) == place(stored)
        });
        if stored.is_being_carried_out() && is_left {
            self.lists_changed();
        }
        // Other nodes did not update lists in a store that only this node uses.
        if before.is_some_and(|before| before.retimed_at != stored.retimed_at) {
            self.lists_changed();
        }
    }

    /// Requests a comparison of every list with the tables.
    fn lists_changed(&self) {
        self.0.lists.compare();
        self.0.lists.wake();
    }

    /// Applies changed settings to the data. The background task retries after a failure.
    ///
    /// # Errors
    /// The first failure of a store.
    pub async fn carry_out_settings(&self) -> Result<()> {
        let _turn = self.0.shared.carrying.lock().await;
        carry_out(self.parts(), || !self.is_stopping())
            .await
            .map(drop)
    }

    fn note_model(&self, theirs: Option<String>) {
        let foreign = &self.0.shared.foreign_model;
        let mut foreign = foreign.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = theirs.as_ref().filter(|_| *foreign != theirs) {
            tracing::error!(
                step = "settings",
                model,
                "the embedder of all nodes is another now; this one makes no vectors any more: restart it without --embedder, or \
                 with that one"
            );
        }
        *foreign = theirs;
    }

    /// Why this process makes no vectors, if the other nodes use another model.
    pub fn embedder_problem(&self) -> Option<Error> {
        let foreign = &self.0.shared.foreign_model;
        let foreign = foreign.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = foreign.as_ref()?;
        let context = format!(
            "the embedder of all nodes is now {theirs}, and this node was started with another: its messages get no vectors until \
             it is restarted without --embedder, or with that one; then run `guestbook reembed`"
        );
        Some(Error::new(ErrorKind::Conflict, "service", "embed", context))
    }
}
