//! The expiring lists: `guest:{guest_id}`, one per guest with a recent message.
//!
//! A list is a view of the tables. Every call says which sequence numbers it is about, so each is idempotent: what is
//! already there is skipped, and what would leave a hole is refused with [`Applied::Gap`], after which the caller
//! rebuilds the list from the tables. Losing a list store loses nothing.

use super::Storage;
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{Content, ConversationId, GuestId, Role, Timestamp};
use std::sync::Arc;
use uuid::Uuid;

/// Which rows a list is a view of. A restored database has a new epoch, an erased and new-begun chat a new conversation;
/// either way the list of the old one is never continued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The database's epoch.
    pub epoch: Uuid,
    /// The guest's conversation.
    pub conversation: ConversationId,
}

/// One element of a list; clients read it as `{"role","content","timestamp"}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Item {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// The client's time.
    pub timestamp: Timestamp,
}

/// Consecutive messages for one guest's list.
#[derive(Clone, Debug)]
pub struct Append {
    /// Whose list.
    pub guest: GuestId,
    /// The rows it is a view of.
    pub origin: Origin,
    /// The first sequence that belongs to the list; older items are dropped.
    pub from: u64,
    /// The sequence of `items[0]`.
    pub first: u64,
    /// The messages, in sequence order.
    pub items: Vec<Item>,
    /// When the list goes; replaces the expiry it had.
    pub expires_at: Timestamp,
    /// When this is asked for, by the clock that told `expires_at`. A store that expires by a clock of its own keeps the list
    /// for the span between the two, so that it does not matter which of the clocks is wrong.
    pub at: Timestamp,
}

/// Another expiry for a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewLife {
    /// Whose list.
    pub guest: GuestId,
    /// The rows it is a view of.
    pub origin: Origin,
    /// The sequence after its last item.
    pub next: u64,
    /// When it goes.
    pub expires_at: Timestamp,
    /// When this is asked for; see [`Append::at`].
    pub at: Timestamp,
}

/// What became of an [`Append`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Applied {
    /// The list now has all of it.
    Stored,
    /// It had all of it before.
    AlreadyThere,
    /// Messages before `first` are missing, or the list is of another origin: rebuild it.
    Gap,
}

/// The bookkeeping of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// The rows it is a view of.
    pub origin: Origin,
    /// The sequence of the first item.
    pub from: u64,
    /// The sequence after the last item.
    pub next: u64,
    /// When it goes.
    pub expires_at: Timestamp,
}

/// A list with its items.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LiveList {
    /// The bookkeeping.
    pub head: Head,
    /// The items, in sequence order.
    pub items: Vec<Item>,
}

/// The store of the expiring lists. Object-safe; share one as `Arc<dyn ListCache>`.
#[async_trait]
pub trait ListCache: Storage {
    /// An id that is made when the store is made. Another id than last time means the lists are gone.
    async fn incarnation(&self) -> Result<Uuid>;

    /// The heads of these guests' lists, in the given order. An expired list that was not swept yet still has its head.
    async fn heads(&self, guests: Vec<GuestId>) -> Result<Vec<Option<Head>>>;

    /// Appends, one answer each, in the given order; each append is atomic. An append that begins a window
    /// (`first == from`) begins the list anew whatever was there of another origin.
    async fn apply(&self, appends: Arc<Vec<Append>>) -> Result<Vec<Applied>>;

    /// Makes the list exactly these items, unless it is of the same origin, begins at the same sequence and already reaches
    /// further: that one has everything these items have, and a slow rebuild must not undo a newer append.
    async fn replace(&self, list: Append) -> Result<()>;

    /// Gives lists another expiry, which may be in the past. Nothing happens to one that is of another origin or has gone on
    /// since: whoever made it go on knew better.
    async fn retime(&self, lists: Vec<NewLife>) -> Result<()>;

    /// The list of a guest, unless it has expired at `now`.
    async fn range(&self, guest: &GuestId, now: Timestamp) -> Result<Option<LiveList>>;

    /// Removes lists; one that is not there is no error.
    async fn remove(&self, guests: Vec<GuestId>) -> Result<()>;

    /// Removes what has expired at `now`, at most `limit` lists; the number removed. A store that expires by itself answers 0.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize>;

    /// The guests that have a list, in ascending order, after a given one.
    async fn guests(&self, after: Option<&GuestId>, limit: usize) -> Result<Vec<GuestId>>;
}
