//! All vectors: the source of the index, and the rows of the messages that it proposes.
//!
//! An index only proposes candidates. Each is read from the tables before it is returned, so a deleted or expired message is
//! never found, however old the index is.

use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{
    ConversationId, Message, MessageId, ModelId, Platform, Role, Timestamp, Vector,
};

/// A vector, with the immutable fields of its message that a search filters by.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedVector {
    /// The message.
    pub id: MessageId,
    /// The speaker.
    pub role: Role,
    /// The client's time.
    pub sent_at: Timestamp,
    /// The vector of the content.
    pub vector: Vector,
}

/// A page of vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IndexedVectorPage {
    /// The vectors, ascending by message.
    pub rows: Vec<IndexedVector>,
    /// The cursor of the next page; `None` at the end. A page may be empty without being the last.
    pub next: Option<MessageId>,
}

/// Candidates that an index proposes, and the limits of the search.
#[derive(Clone, Debug)]
pub struct CandidateRequest {
    /// The messages, the best first.
    pub ids: Vec<MessageId>,
    /// Only guests' messages, or only users'.
    pub platform: Option<Platform>,
    /// At most this many are read.
    pub limit: usize,
}

/// A candidate as the tables have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its conversation.
    pub conversation: ConversationId,
    /// The message.
    pub message: Message,
    /// Its vector.
    pub vector: Vector,
}

/// All vectors of one model.
#[async_trait]
pub trait VectorSource: std::fmt::Debug + Send + Sync {
    /// Whether other processes store messages in the same tables.
    fn is_shared(&self) -> bool {
        false
    }

    /// Vectors of `model`, ascending by message, after `after`; `limit` rows are read, including those of other models and
    /// invalid ones.
    async fn indexable(
        &self,
        model: &ModelId,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<IndexedVectorPage>;

    /// The vectors of these messages, if present and of `model`; in any order.
    async fn indexable_of(
        &self,
        model: &ModelId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<IndexedVector>>;

    /// Messages whose vector was stored at or after a time, by the storing node's clock, each with that time, ascending by both;
    /// at most `limit`, after the given one. Empty where tables are not shared: the only writer knows its vectors.
    async fn embedded_since(
        &self,
        _since: Timestamp,
        _after: Option<MessageId>,
        _limit: usize,
    ) -> Result<Vec<(Timestamp, MessageId)>> {
        Ok(Vec::new())
    }

    /// The number of messages that can be searched: all except those in which `model` finds nothing.
    async fn searchable(&self, model: &ModelId) -> Result<u64>;

    /// The candidates present at `now` with a vector of `model`, in the order of the request, all read in one snapshot.
    async fn candidates(
        &self,
        model: &ModelId,
        proposal: CandidateRequest,
        now: Timestamp,
    ) -> Result<Vec<Candidate>>;
}
