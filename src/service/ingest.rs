//! The write path: messages are queued, committed in batches, applied to the session lists, replied to.
//!
//! Queued messages become a batch, up to the batch limits, as soon as the database can take one. There is no timer: while
//! one batch commits, the next one gathers. A database server commits several batches at once, a file one. After the commit,
//! the lists are updated and the replies sent while the next batch commits. Erasures and migrations pass through the same
//! pipeline, so they keep their order among the guest's messages.
//!
//! **Invariant:** a message is reported as saved only after its commit, and nothing after the commit can fail it.

mod apply;
mod commit;
mod dispatch;
mod operation;
mod queue;

pub(super) use dispatch::run;
pub(super) use operation::Operation;
pub use queue::{Fate, PendingGroups};
pub(super) use queue::{Ingest, Queue};

use super::Service;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{ClientId, NewMessage, OwnerId, Receipt};
use guestbook_storage::database::{Embedding, Entry, Erased, Group, Recorded};
use std::time::Instant;

/// The outcome of one group of messages.
#[derive(Clone, Debug)]
pub enum GroupOutcome {
    /// Every message of the group is stored.
    Saved(Vec<SavedMessage>),
    /// Nothing is stored: see [`guestbook_storage::database::Outcome::Conflict`].
    Conflict {
        /// The message's index in the group.
        index: usize,
        /// The conflicting id.
        id: ClientId,
    },
    /// Nothing is stored, for this reason.
    Failed(Error),
}

/// A stored message and its receipt.
#[derive(Clone, Debug)]
pub struct SavedMessage {
    /// Where it is in the tables.
    pub recorded: Recorded,
    /// The receipt for the client.
    pub receipt: Receipt,
}

/// What an erasure removed, and whether the session list was removed at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Erasure {
    pub(super) erased: Erased,
    pub(super) list_removed: bool,
}

impl Service {
    /// Stores groups of messages, each whole or not at all; one outcome per group, in order.
    ///
    /// # Errors
    /// `Busy` when the queue stays full for the admission time; nothing was stored then.
    pub async fn store(&self, groups: Vec<Vec<NewMessage>>) -> Result<Vec<GroupOutcome>> {
        self.enqueue(groups).await?.answer().await
    }

    /// Queues groups of messages and returns their pending outcomes. Groups are stored in the order of their enqueueing.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub async fn enqueue(&self, groups: Vec<Vec<NewMessage>>) -> Result<PendingGroups> {
        let began = Instant::now();
        let first =
            |group: &Vec<NewMessage>| group.first().map(|message| OwnerId::from(&message.guest));
        let mut owners: Vec<_> = groups.iter().filter_map(first).collect();
        owners.sort_unstable();
        owners.dedup();
        let entries = |group: Vec<NewMessage>| {
            Group(
                group
                    .into_iter()
                    .map(|message| self.entry(message))
                    .collect(),
            )
        };
        let groups: Vec<Group> = groups.into_iter().map(entries).collect();
        let shards = self.queue_groups(groups).await?;
        Ok(PendingGroups {
            service: self.clone(),
            owners,
            began,
            shards,
        })
    }

    /// Embeds inline if the model takes microseconds; a slower model runs later in the background.
    fn entry(&self, mut message: NewMessage) -> Entry {
        if !message.is_timed {
            message.sent_at = self.now();
        }
        let embedding = match &self.0.parts.embedder {
            None => Embedding::Off,
            Some(_) if self.embedder_problem().is_some() => Embedding::Pending,
            Some(embedder) => super::embedding::at_once(embedder.as_ref(), &message),
        };
        Entry { message, embedding }
    }
}

fn unanswered() -> Error {
    busy(
        ErrorKind::Unavailable,
        "the service stopped before it could respond",
    )
}

fn busy(kind: ErrorKind, context: &str) -> Error {
    Error::new(kind, "service", "ingest", context)
}
