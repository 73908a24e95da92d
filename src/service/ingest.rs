//! The write path: messages are queued, committed in batches, applied to the lists, answered.
//!
//! What waits becomes a batch, up to the batch limits, as soon as the database can take one; there is no timer, because
//! while one batch is being committed the next one gathers. A server takes several at once, a file one. After the commit
//! come the lists and the answers, while the next batch is being committed. Erasing and migrating pass through the same
//! pipeline, so that they keep their place among the messages of a guest.
//!
//! **Invariant:** a message is answered as saved only after its commit, and nothing after the commit can fail it.

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

/// What became of one group of messages.
#[derive(Clone, Debug)]
pub enum GroupOutcome {
    /// Every message of it is stored.
    Saved(Vec<SavedMessage>),
    /// Nothing of it is: see [`guestbook_storage::database::Outcome::Conflict`].
    Conflict {
        /// The place in the group.
        index: usize,
        /// The id in question.
        id: ClientId,
    },
    /// Nothing of it is, and why.
    Failed(Error),
}

/// A stored message and what each of its places says.
#[derive(Clone, Debug)]
pub struct SavedMessage {
    /// Where it is in the tables.
    pub recorded: Recorded,
    /// What to tell the client.
    pub receipt: Receipt,
}

/// What an erasure removed, and whether the list went with it at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Erasure {
    pub(super) erased: Erased,
    pub(super) list_removed: bool,
}

impl Service {
    /// Stores groups of messages, each whole or not at all; one answer per group, in order.
    ///
    /// # Errors
    /// `Busy` when the queue stays full for the admission time; nothing was stored then.
    pub async fn store(&self, groups: Vec<Vec<NewMessage>>) -> Result<Vec<GroupOutcome>> {
        self.enqueue(groups).await?.answer().await
    }

    /// Puts groups of messages into the queue and returns what to wait on. What is enqueued first is stored first.
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

    /// Adds the vector where it is a matter of microseconds; a slower model is asked later.
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
        "the service stopped before it could answer",
    )
}

fn busy(kind: ErrorKind, context: &str) -> Error {
    Error::new(kind, "service", "ingest", context)
}
