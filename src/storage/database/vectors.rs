//! The vectors that could not be computed on the request path, and those of another model.

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
    /// How often it has been tried.
    pub attempts: u32,
}

/// What a model said of one message.
#[derive(Clone, Debug)]
pub struct VectorUpdate {
    /// The message.
    pub id: MessageId,
    /// Tries so far, this one included.
    pub attempts: u32,
    /// What came of it.
    pub outcome: VectorOutcome,
}

/// What a model said.
#[derive(Clone, Debug)]
pub enum VectorOutcome {
    /// A vector.
    Vector(Vector),
    /// The text holds nothing it knows.
    Nothing,
    /// Not this time, and why; it will be tried again.
    Retry(String),
    /// Never, and why.
    Failed(String),
}

/// The messages without a vector, and how they get one.
#[async_trait]
pub trait Vectors: std::fmt::Debug + Send + Sync {
    /// Messages whose vector is pending, ascending by id, after the given one.
    async fn vectors_pending(
        &self,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Unembedded>>;

    /// Every message that has no vector of `model` and is not known to have none, ascending by id, after the given one:
    /// pending, failed, never tried, or of another model.
    async fn vectors_missing(
        &self,
        model: &ModelId,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Unembedded>>;

    /// How many [`Self::vectors_missing`] would list.
    async fn vectors_missing_count(&self, model: &ModelId) -> Result<u64>;

    /// Stores what a model said, in one transaction. A vector replaces one of another model; a message that has been
    /// deleted meanwhile is passed over.
    async fn vectors_update(
        &self,
        model: &ModelId,
        updates: Vec<VectorUpdate>,
        at: Timestamp,
    ) -> Result<()>;
}
