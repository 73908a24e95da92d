//! Reading everything back, to recount it. A backend only fetches; what is right and what is wrong is decided in
//! `service::verify`, the same for every backend.

use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{
    Conversation, ConversationId, Digest, EmbeddingState, GuestId, MessageId, OwnerId, Role,
    Timestamp, Usage, Window,
};

/// What to look at.
#[derive(Clone, Debug)]
pub enum AuditScope {
    /// Every conversation, in ascending order of id, after a given one.
    AllAfter(Option<ConversationId>),
    /// The conversations begun by one guest, also when they are a user's by now.
    Guest(GuestId),
    /// One conversation.
    Conversation(ConversationId),
}

/// A conversation with everything that hangs on it, read in one snapshot.
#[derive(Clone, Debug)]
pub struct ConversationAudit {
    /// The conversation's row.
    pub conversation: Conversation,
    /// What the row says of its list: the window, `None` once it has expired.
    pub window: Option<Window>,
    /// Its messages, in sequence order.
    pub messages: Vec<AuditedMessage>,
}

/// Some audits of conversations.
#[derive(Clone, Debug)]
pub struct ConversationAuditPage {
    /// The audits of conversations, ascending by conversation.
    pub conversation_audits: Vec<ConversationAudit>,
    /// Where to go on ([`AuditScope::AllAfter`]); `None` at the end.
    pub next: Option<ConversationId>,
}

/// A message's row as found, and what hangs on it. The text itself stays behind: its hash and its tokens are recounted
/// where it is read.
#[derive(Clone, Debug)]
pub struct AuditedMessage {
    /// Its id.
    pub id: MessageId,
    /// The id under which the client sent it, where that is another one.
    pub external_id: Option<String>,
    /// Its sequence.
    pub sequence: u64,
    /// Its role; `None` when the table holds something else.
    pub role: Option<Role>,
    /// `message_hash` as stored; `None` when it is no SHA-256.
    pub stored_hash: Option<Digest>,
    /// The SHA-256 of the content as found.
    pub found_hash: Digest,
    /// `tokens` as stored.
    pub stored_tokens: u64,
    /// The tokens of the content as found.
    pub found_tokens: u64,
    /// The client's time.
    pub sent_at: Timestamp,
    /// Our time of storing.
    pub created_at: Timestamp,
    /// Its row in `cache_embeddings`.
    pub vector: Option<FoundVector>,
    /// The note about a vector that is not there: state and cause.
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

/// A row that belongs to nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Orphan {
    /// The table it is in.
    pub table: &'static str,
    /// Its id.
    pub id: String,
    /// What it should belong to and does not.
    pub reason: String,
}

/// What `cache_metrics` says beside what the messages imply.
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
    /// Messages there are.
    pub messages: u64,
    /// Sum of `total_requests` over all rows.
    pub requests: u64,
}

/// One mending of something derived. None of them touches a message.
#[derive(Clone, Debug)]
pub enum Repair {
    /// Set a conversation's counters.
    Counters {
        /// Which.
        conversation: ConversationId,
        /// Its `conversation_hash` when it was counted: one that has moved on since is left alone.
        hash: String,
        /// `message_count`.
        message_count: u64,
        /// `total_tokens`.
        total_tokens: u64,
    },
    /// Set the conversation's idea of its list; `None` when the list has expired.
    Window {
        /// Which.
        conversation: ConversationId,
        /// Its `conversation_hash` when it was looked at: one that has moved on since is left alone.
        hash: String,
        /// The window its messages imply.
        window: Option<Window>,
    },
    /// Set an owner's counters to the sums of the owner's messages; hits are kept. No message removes the row.
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
    /// Remove a row that belongs to nothing. A message is never removed.
    Orphan(Orphan),
    /// Insert the missing hours and set the newest row's `total_entries`.
    Metrics,
}

/// Reading everything back.
#[async_trait]
pub trait Audit: std::fmt::Debug + Send + Sync {
    /// Conversations with everything that hangs on them. A page ends after the conversation that brings it to
    /// `messages` messages.
    async fn conversation_audits(
        &self,
        scope: AuditScope,
        messages: usize,
    ) -> Result<ConversationAuditPage>;

    /// Owners ascending, after a given one: everyone with a usage row or a conversation.
    async fn usage_audits(&self, after: Option<&OwnerId>, limit: usize) -> Result<Vec<UsageAudit>>;

    /// One owner's usage beside its sums.
    async fn usage_audit(&self, owner: &OwnerId) -> Result<UsageAudit>;

    /// Rows that belong to nothing, at most `limit` per table.
    async fn orphans(&self, limit: usize) -> Result<Vec<Orphan>>;

    /// The hourly metrics beside what the messages imply.
    async fn metrics_audit(&self) -> Result<MetricsAudit>;

    /// Which of these hours have no row in the hourly metrics.
    async fn metrics_missing(&self, hours: Vec<Timestamp>) -> Result<Vec<Timestamp>>;

    /// Repairs, in one transaction.
    async fn repair(&self, repairs: Vec<Repair>, at: Timestamp) -> Result<()>;
}
