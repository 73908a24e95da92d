//! The outbox: list writes that are committed but not durable in the list store. It survives a crash without a full scan:
//! each conversation stores the sequence up to which its list is durable.

use super::CounterDeltas;
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, GuestId, MessageId, Timestamp, Window};
use uuid::Uuid;

/// Messages that are durable in a list. A list has no holes: it then has every earlier message of its window as well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SyncedRange {
    /// Their conversation.
    pub conversation: ConversationId,
    /// The sequence after the last of them.
    pub next: u64,
    /// Their ids, in sequence order and without a gap up to `next`.
    pub messages: Vec<MessageId>,
}

/// The list window in a conversation's row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListRow {
    /// The list's guest.
    pub guest: GuestId,
    /// The conversation it is a view of.
    pub conversation: ConversationId,
    /// The window that the list should have, and its expiry.
    pub window: Window,
    /// The sequence after the newest message.
    pub next: u64,
    /// The sequence up to which the list is known to be durable (exclusive).
    pub synced: u64,
}

/// A pending list write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OutboxEntry {
    /// The list lacks messages.
    Behind(ListRow),
    /// The chat is gone, or has become a user's: the list must be removed.
    Gone(GuestId),
}

/// The outbox entries, and the marks that clear them.
#[async_trait]
pub trait Outbox: std::fmt::Debug + Send + Sync {
    /// Identifies this database's content. A restore or import creates a new one.
    fn epoch(&self) -> Uuid;

    /// Outbox entries at `now`, at most `limit`, removals first. Conversations are ascending by id, after the given one.
    async fn outbox_entries(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>>;

    /// The row of a guest's list at `now`; `None` without a chat or once the list has expired.
    async fn list_row(&self, guest: &GuestId, now: Timestamp) -> Result<Option<ListRow>>;

    /// Every list that should be there at `now`, ascending by conversation, after the given one.
    async fn list_rows(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ListRow>>;

    /// Writes sync marks and counters when no batch carries them.
    async fn mark_synced(
        &self,
        synced_ranges: Vec<SyncedRange>,
        deltas: CounterDeltas,
        at: Timestamp,
    ) -> Result<()>;

    /// Clears the entries of removed lists.
    async fn removals_done(&self, guests: Vec<GuestId>) -> Result<()>;

    /// Marks at most `limit` lists as expired at `now`: their messages are no longer synced. Returns the number of lists.
    async fn lapse(&self, now: Timestamp, limit: usize) -> Result<usize>;

    /// The incarnation of the list store that the sync marks refer to.
    async fn lists_incarnation(&self) -> Result<Option<Uuid>>;

    /// Stores the incarnation once every list has been compared with the tables.
    async fn set_lists_incarnation(&self, incarnation: Uuid) -> Result<()>;
}
