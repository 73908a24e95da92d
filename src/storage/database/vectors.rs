//! Pending embeddings, and vectors of another model.

use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{Content, ConversationId, MessageId, ModelId, Timestamp, Vector};

/// A message that should have a vector of the current model and has none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unembedded {
    /// The message.
    pub id: MessageId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The text to embed.
    pub content: Content,
    /// Failed attempts so far.
    pub attempts: u32,
}

/// The outcome of embedding one message.
#[derive(Clone, Debug)]
pub struct VectorUpdate {
    /// The message.
    pub id: MessageId,
    /// Attempts so far, this one included.
    pub attempts: u32,
    /// The outcome.
    pub outcome: VectorOutcome,
}

/// The outcome of an embedding.
#[derive(Clone, Debug)]
pub enum VectorOutcome {
    /// A vector.
    Vector(Vector),
    /// The text has nothing that the model knows.
    Nothing,
    /// A transient failure and its cause; it will be retried.
    Retry(String),
    /// A permanent failure and its cause.
    Failed(String),
}

/// The messages without a vector.
#[async_trait]
pub trait Vectors: std::fmt::Debug + Send + Sync {
    /// Messages whose vector is pending, ascending by id, after `after`.
    async fn vectors_pending(
        &self,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Unembedded>>;

    /// Every message without a vector of `model`, unless the model is known to find nothing in it, ascending by id, after `after`:
    /// pending, failed, never tried, or of another model.
    async fn vectors_missing(
        &self,
        model: &ModelId,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Unembedded>>;

    /// The number of [`Self::vectors_missing`].
    async fn vectors_missing_count(&self, model: &ModelId) -> Result<u64>;

    /// Stores outcomes in one transaction. A vector replaces one of another model; a message deleted meanwhile is skipped.
    async fn vectors_update(
        &self,
        model: &ModelId,
        updates: Vec<VectorUpdate>,
        at: Timestamp,
    ) -> Result<()>;
}
