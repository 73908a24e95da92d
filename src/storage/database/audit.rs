//! Reads for verify. A backend only fetches; `service::verify` decides what is right, the same for every backend.

use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{
    Conversation, ConversationId, Digest, EmbeddingState, GuestId, MessageId, OwnerId, Role,
    Timestamp, Usage, Window,
};

/// The conversations to audit.
#[derive(Clone, Debug)]
pub enum AuditScope {
    /// Every conversation, in ascending order of id, after this one.
    AllAfter(Option<ConversationId>),
    /// The conversations begun by a guest, also those that are a user's by now.
    Guest(GuestId),
    /// One conversation.
    Conversation(ConversationId),
}

/// A conversation with all its derived rows, read in one snapshot.
#[derive(Clone, Debug)]
pub struct ConversationAudit {
    /// The conversation's row.
    pub conversation: Conversation,
    /// The list window in the row; `None` once it has expired.
    pub window: Option<Window>,
    /// Its messages, in sequence order.
    pub messages: Vec<AuditedMessage>,
}

/// A page of audits.
#[derive(Clone, Debug)]
pub struct ConversationAuditPage {
    /// The audits of conversations, ascending by conversation.
    pub conversation_audits: Vec<ConversationAudit>,
    /// The cursor of the next page ([`AuditScope::AllAfter`]); `None` at the end.
    pub next: Option<ConversationId>,
}

/// A message's row as found, and its derived rows. The content stays in the database: its hash and tokens are recomputed where
/// it is read.
#[derive(Clone, Debug)]
pub struct AuditedMessage {
    /// Its id.
    pub id: MessageId,
    /// The id that the client sent, if it differs.
    pub external_id: Option<String>,
    /// Its sequence.
    pub sequence: u64,
    /// Its role; `None` if the column holds something else.
    pub role: Option<Role>,
    /// `message_hash` as stored; `None` if it is no SHA-256.
    pub stored_hash: Option<Digest>,
    /// The SHA-256 of the content as found.
    pub found_hash: Digest,
    /// `tokens` as stored.
    pub stored_tokens: u64,
    /// The tokens of the content as found.
    pub found_tokens: u64,
    /// The client's time.
    pub sent_at: Timestamp,
    /// The server's time of storing.
    pub created_at: Timestamp,
    /// Its row in `cache_embeddings`.
    pub vector: Option<FoundVector>,
    /// The state and cause of a missing vector.
    pub vector_note: Option<(EmbeddingState, String)>,
    /// Its row in `cache_content_mapping`.
    pub mapping: Option<FoundMapping>,
}

/// A row of `cache_embeddings` as found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundVector {
    /// `embedding_model`.
    pub model: String,
    /// `embedding_dim`.
    pub dimension: u64,
    /// Bytes in `embedding`.
    pub bytes: u64,
}

/// A row of `cache_content_mapping` as found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundMapping {
    /// `user_id`.
    pub owner: OwnerId,
    /// `is_synced`.
    pub is_synced: bool,
}

/// An owner's usage row beside the sums of the owner's messages, read in one snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageAudit {
    /// The owner.
    pub owner: OwnerId,
    /// The row, if there is one.
    pub row: Option<Usage>,
    /// The sums over the owner's messages, counted as [`Usage::count`] does; no message gives zeros.
    pub counted: Usage,
}

/// A row without an owner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Orphan {
    /// The table it is in.
    pub table: &'static str,
    /// Its id.
    pub id: String,
    /// The missing owner.
    pub reason: String,
}

/// `cache_metrics` beside what the messages imply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsAudit {
    /// Distinct UTC hours in which the stored messages were stored.
    pub hours_expected: u64,
    /// How many of them have a row.
    pub hours_found: u64,
    /// Some hours without a row, at most 100.
    pub missing: Vec<Timestamp>,
    /// `total_entries` of the newest row.
    pub entries: u64,
    /// The number of messages.
    pub messages: u64,
    /// Sum of `total_requests` over all rows.
    pub requests: u64,
}

/// One repair of derived data. None touches a message.
#[derive(Clone, Debug)]
pub enum Repair {
    /// Set a conversation's counters.
    Counters {
        /// The conversation.
        conversation: ConversationId,
        /// Its `conversation_hash` when it was counted: a conversation that has changed since is left alone.
        hash: String,
        /// `message_count`.
        message_count: u64,
        /// `total_tokens`.
        total_tokens: u64,
    },
    /// Set the list window in a conversation's row; `None` when the list has expired.
    Window {
        /// The conversation.
        conversation: ConversationId,
        /// Its `conversation_hash` when it was read: a conversation that has changed since is left alone.
        hash: String,
        /// The window its messages imply.
        window: Option<Window>,
    },
    /// Set an owner's counters to the sums of the owner's messages; hits are kept. Without messages the row is removed.
    Usage(UsageAudit),
    /// Insert or correct the mapping of a message.
    Mapping {
        /// The message.
        message: MessageId,
        /// Who owns it.
        owner: OwnerId,
        /// Whether the list has it.
        is_synced: bool,
    },
    /// Remove a row without an owner. A message is never removed.
    Orphan(Orphan),
    /// Insert the missing hours and set the newest row's `total_entries`.
    Metrics,
}

/// The reads and repairs of verify.
#[async_trait]
pub trait Audit: std::fmt::Debug + Send + Sync {
    /// Conversations with all their derived rows. A page ends after the conversation that brings it to `messages` messages.
    async fn conversation_audits(
        &self,
        scope: AuditScope,
        messages: usize,
    ) -> Result<ConversationAuditPage>;

    /// Owners with a usage row or a conversation, ascending, after `after`.
    async fn usage_audits(&self, after: Option<&OwnerId>, limit: usize) -> Result<Vec<UsageAudit>>;

    /// One owner's usage beside its sums.
    async fn usage_audit(&self, owner: &OwnerId) -> Result<UsageAudit>;

    /// Rows without an owner, at most `limit` per table.
    async fn orphans(&self, limit: usize) -> Result<Vec<Orphan>>;

    /// The hourly metrics beside what the messages imply.
    async fn metrics_audit(&self) -> Result<MetricsAudit>;

    /// Which of these hours have no row in the hourly metrics.
    async fn metrics_missing(&self, hours: Vec<Timestamp>) -> Result<Vec<Timestamp>>;

    /// Applies repairs in one transaction.
    async fn repair(&self, repairs: Vec<Repair>, at: Timestamp) -> Result<()>;
}
