//! Settings that are stored with the data: what a change of them means for the lists and chats that are there, and finding
//! out what another node has changed.

use super::{Service, ServiceParts};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_failpoint as failpoint;
use guestbook_storage::database::StoredSettings;
use guestbook_storage::list_cache::{NewLife, Origin};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lists or chats changed at a time: others' messages are stored between two pages.
const PAGE: usize = 500;
/// How often what others have changed is asked for: all nodes are to know it within a second. It takes the database a look at a table of
/// some 15 rows.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What this process knows of the settings of all.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The model that the others use by now, where ours is another.
    foreign_model: Mutex<Option<String>>,
    /// Held while a change is carried out, so that it is done once.
    carrying: tokio::sync::Mutex<()>,
}

/// Gives every chat and every list what a change of the settings means for it, page by page, from where an earlier process
/// was stopped; the number of lists. Each page is done at once or again: the list store first, then the rows.
///
/// # Errors
/// The first failure of a store; what is left is done by the next call.
pub async fn carry_out(parts: &ServiceParts, go_on: impl Fn() -> bool) -> Result<u64> {
    let (database, mut done) = (&parts.database, 0);
    while go_on() && database.settings.retain_some(PAGE).await? {}
    while go_on() {
        let asked = database
            .settings
            .lists_to_retime(parts.clock.now(), PAGE)
            .await?;
        let Some(page) = asked else { break };
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
        tracing::info!(lists = done, "lists are given their new life");
    }
    Ok(done)
}

/// Takes over what others have changed, and goes on with what they have begun and left.
pub(super) async fn look_loop(service: Service) {
    let mut before: Option<StoredSettings> = None;
    loop {
        let looked = service.stores().settings.refresh_settings().await;
        match looked {
            Ok(None) => return service.stopped().await, // nobody else can change them
            Ok(Some(stored)) => {
                service.follow(before.as_ref(), &stored).await;
                before = Some(stored);
            }
            Err(cause) => {
                tracing::debug!(step = "settings", %cause, "the settings of all nodes could not be asked for");
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
        // Whoever has changed them carries it out. What stands still was left.
        let is_left = before.is_some_and(|before| {
            let place = |it: &StoredSettings| (it.version, it.retiming, it.is_retaining);
            place(before) == place(stored)
        });
        if stored.is_being_carried_out() && is_left {
            self.lists_changed();
        }
        // Lists of a store that only we have were not given it by others.
        if before.is_some_and(|before| before.retimed_at != stored.retimed_at) {
            self.lists_changed();
        }
    }

    /// Has every list compared with the tables.
    fn lists_changed(&self) {
        self.0.lists.compare();
        self.0.lists.wake();
    }

    /// Carries out what a change of the settings means. What fails is tried again by the upkeep.
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

    /// Why this process makes no vectors, where the others have gone over to another model.
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
