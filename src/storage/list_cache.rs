//! The expiring session lists: `guest:{guest_id}`, one per guest with a recent message.
//!
//! A list is a view of the tables. Every call names its sequence numbers, so each is idempotent: items already in the list are
//! skipped, and an append that would leave a hole is refused with [`Applied::Gap`], after which the caller rebuilds the list
//! from the tables. Losing a list store loses nothing.

use super::Storage;
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{Content, ConversationId, GuestId, Role, Timestamp};
use std::sync::Arc;
use uuid::Uuid;

/// Identifies the rows that a list is a view of. A restored database has a new epoch, a chat begun again after its erasure a
/// new conversation; either way the old list is never continued.
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
    /// The speaker.
    pub role: Role,
    /// The text.
    pub content: Content,
    /// The client's time.
    pub timestamp: Timestamp,
}

/// Consecutive messages for one guest's list.
#[derive(Clone, Debug)]
pub struct Append {
    /// The list's guest.
    pub guest: GuestId,
    /// The rows it is a view of.
    pub origin: Origin,
    /// The first sequence that belongs to the list; older items are dropped.
    pub from: u64,
    /// The sequence of `items[0]`.
    pub first: u64,
    /// The messages, in sequence order.
    pub items: Vec<Item>,
    /// The new expiry of the list.
    pub expires_at: Timestamp,
    /// The time of the call, by the clock that set `expires_at`. A store that expires by its own clock keeps the list for the
    /// difference of the two, so that skew between the clocks does not matter.
    pub at: Timestamp,
}

/// A new expiry for a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewLife {
    /// The list's guest.
    pub guest: GuestId,
    /// The rows it is a view of.
    pub origin: Origin,
    /// The sequence after its last item.
    pub next: u64,
    /// The new expiry.
    pub expires_at: Timestamp,
    /// The time of the call; see [`Append::at`].
    pub at: Timestamp,
}

/// The outcome of an [`Append`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Applied {
    /// The items were appended.
    Stored,
    /// The list had all items before.
    AlreadyThere,
    /// Messages before `first` are missing, or the list is of another origin: rebuild it.
    Gap,
}

/// The metadata of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// The rows it is a view of.
    pub origin: Origin,
    /// The sequence of the first item.
    pub from: u64,
    /// The sequence after the last item.
    pub next: u64,
    /// The expiry.
    pub expires_at: Timestamp,
}

/// Consecutive items of a list, to be read at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListRange {
    /// The first sequence; the list's first if that is greater.
    pub from: u64,
    /// Items at most.
    pub limit: usize,
    /// Bytes of contents; the item that reaches them is the last.
    pub bytes: usize,
}

impl ListRange {
    /// From this sequence on, as much as one may hold of a list of any length: 320 KiB with the largest contents.
    pub const fn step(from: u64) -> Self {
        Self {
            from,
            limit: 512,
            bytes: 256 << 10,
        }
    }
}

/// Part of a live list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListPage {
    /// The metadata of the whole list.
    pub head: Head,
    /// The sequence of `items[0]`, or of what would be there.
    pub first: u64,
    /// The items, in sequence order.
    pub items: Vec<Item>,
}

impl ListPage {
    /// The sequence after its last item.
    pub fn next(&self) -> u64 {
        self.first + self.items.len() as u64
    }
}

/// The store of the expiring lists. Object-safe; share one as `Arc<dyn ListCache>`.
#[async_trait]
pub trait ListCache: Storage {
    /// An id created with the store. A changed id means that the lists are lost.
    async fn incarnation(&self) -> Result<Uuid>;

    /// The heads of these guests' lists, in the order of the guests. An expired list has its head until it is swept.
    async fn heads(&self, guests: Vec<GuestId>) -> Result<Vec<Option<Head>>>;

    /// Applies appends, each atomically; one outcome each, in order. An append that begins a window (`first == from`) replaces a
    /// list of another origin.
    async fn apply(&self, appends: Arc<Vec<Append>>) -> Result<Vec<Applied>>;

    /// Sets the list to exactly these items, unless it is of the same origin, begins at the same sequence and already reaches
    /// further: such a list has all of these items, and a slow rebuild must not undo a newer append.
    async fn replace(&self, list: Append) -> Result<()>;

    /// Sets the expiry of lists, possibly to the past. A list of another origin, or with newer items, is left alone: the newer
    /// append has set a newer expiry.
    async fn retime(&self, lists: Vec<NewLife>) -> Result<()>;

    /// Part of a guest's list, unless the list has expired at `now`. At least one item, if there is one from `range.from` on.
    async fn range(
        &self,
        guest: &GuestId,
        range: ListRange,
        now: Timestamp,
    ) -> Result<Option<ListPage>>;

    /// Removes lists; a missing list is no error.
    async fn remove(&self, guests: Vec<GuestId>) -> Result<()>;

    /// Removes at most `limit` lists expired at `now`; returns how many. A store that expires by itself returns 0.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize>;

    /// The guests that have a list, in ascending order, after `after`.
    async fn guests(&self, after: Option<&GuestId>, limit: usize) -> Result<Vec<GuestId>>;
}
