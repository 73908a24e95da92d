//! What the tables owe the lists. A commit that the list has not followed yet must be found again after a crash without
//! scanning everything: each conversation knows up to which sequence its list is durable.

use super::CounterDeltas;
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, GuestId, MessageId, Timestamp, Window};
use uuid::Uuid;

/// Messages that a list now has and will still have after a power cut. A list has no holes: it then has every message of
/// its window before these as well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SyncedRange {
    /// Their conversation.
    pub conversation: ConversationId,
    /// The sequence after the last of them.
    pub next: u64,
    /// Their ids, in sequence order and without a gap up to `next`.
    pub messages: Vec<MessageId>,
}

/// A conversation's own idea of its list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListRow {
    /// Whose list.
    pub guest: GuestId,
    /// The conversation it is a view of.
    pub conversation: ConversationId,
    /// What the list should hold, and until when.
    pub window: Window,
    /// The sequence after the newest message.
    pub next: u64,
    /// The sequence up to which the list is known to be durable (exclusive).
    pub synced: u64,
}

/// Something a list store has yet to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OutboxEntry {
    /// The list lacks messages.
    Behind(ListRow),
    /// The chat is gone, or has become a user's: the list must go.
    Gone(GuestId),
}

/// The outbox entries, and how they are paid.
#[async_trait]
pub trait Outbox: std::fmt::Debug + Send + Sync {
    /// Names this database's content. A restore or import makes a new one.
    fn epoch(&self) -> Uuid;

    /// Outbox entries at `now`, at most `limit`, removals first. Conversations are ascending by id, after the given one.
    async fn outbox_entries(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>>;

    /// The row of a guest's list at `now`; `None` when there is no chat or its list has expired.
    async fn list_row(&self, guest: &GuestId, now: Timestamp) -> Result<Option<ListRow>>;

    /// Every list that should be there at `now`, ascending by conversation, after the given one.
    async fn list_rows(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ListRow>>;

    /// Notes what is durable in the lists and what was counted; for times when no batch is there to carry it.
    async fn mark_synced(
        &self,
        synced_ranges: Vec<SyncedRange>,
        deltas: CounterDeltas,
        at: Timestamp,
    ) -> Result<()>;

    /// Notes that these lists have been removed.
    async fn removals_done(&self, guests: Vec<GuestId>) -> Result<()>;

    /// Notes that lists have expired at `now`, at most `limit`: their messages are no longer synced. The number of lists.
    async fn lapse(&self, now: Timestamp, limit: usize) -> Result<usize>;

    /// The incarnation of the list store that the notes above speak of.
    async fn lists_incarnation(&self) -> Result<Option<Uuid>>;

    /// Remembers the incarnation once every list has been compared with the tables.
    async fn set_lists_incarnation(&self, incarnation: Uuid) -> Result<()>;
}
