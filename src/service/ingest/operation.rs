//! The operations of the pipeline: queue, commit, apply, reply.

use super::super::Settings;
use super::{Erasure, GroupOutcome};
use guestbook_core::error::Result;
use guestbook_core::{GuestId, OwnerId};
use guestbook_storage::database::{Group, Migrated};
use tokio::sync::oneshot;

/// One transaction.
#[derive(Debug)]
pub(crate) enum Operation {
    Store(PendingBatch),
    Erase(ChatRequest<Erasure>),
    Migrate(ChatRequest<Migrated>, OwnerId),
}

impl Operation {
    pub(super) fn messages(&self) -> usize {
        match self {
            Self::Store(batch) => batch.messages,
            Self::Erase(_) | Self::Migrate(..) => 1,
        }
    }
}

/// A change of a guest's whole chat, and its reply channel.
#[derive(Debug)]
pub(crate) struct ChatRequest<R> {
    pub(super) guest: GuestId,
    pub(super) reply: oneshot::Sender<Result<R>>,
}

/// Messages to store: of one request in the queue, of several once the dispatcher has merged them.
#[derive(Debug)]
pub(crate) struct PendingBatch {
    pub(super) groups: Vec<Group>,
    pub(super) waiters: Waiters,
    messages: usize,
    bytes: usize,
}

/// The requests of a batch, in the order of its groups. The first has a field, so that a lone request allocates nothing.
#[derive(Debug)]
pub(super) struct Waiters {
    first: Waiter,
    rest: Vec<Waiter>,
}

/// The number of groups of a request, and its reply channel.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) groups: usize,
    pub(super) reply: oneshot::Sender<Vec<GroupOutcome>>,
}

impl PendingBatch {
    pub(super) fn new(groups: Vec<Group>, reply: oneshot::Sender<Vec<GroupOutcome>>) -> Self {
        let entries = || groups.iter().flat_map(|group| &group.0);
        let sizes = entries().map(|entry| entry.message.content.as_str().len());
        let first = Waiter {
            groups: groups.len(),
            reply,
        };
        Self {
            messages: entries().count(),
            bytes: sizes.sum(),
            waiters: Waiters {
                first,
                rest: Vec::new(),
            },
            groups,
        }
    }

    /// Merges a queued batch of one request.
    pub(super) fn add(&mut self, queued: Self) {
        self.messages += queued.messages;
        self.bytes += queued.bytes;
        self.waiters.rest.push(queued.waiters.first);
        self.groups.extend(queued.groups);
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&self, settings: &Settings) -> bool {
        self.messages < settings.batch_messages && self.bytes < settings.batch_bytes
    }
}

impl IntoIterator for Waiters {
    type Item = Waiter;
    type IntoIter = std::iter::Chain<std::iter::Once<Waiter>, std::vec::IntoIter<Waiter>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.rest)
    }
}
