//! Every vector there is: what an index over all of them is made from, and what is read again of the messages it names.
//!
//! An index only proposes. What it proposes is read from the tables before anybody sees it, so what has been deleted or has
//! expired is never found, however old the index is.

use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{
    ConversationId, Message, MessageId, ModelId, Platform, Role, Timestamp, Vector,
};

/// A vector, with what of its message never changes and a search asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedVector {
    /// The message.
    pub id: MessageId,
    /// Who speaks.
    pub role: Role,
    /// The client's time.
    pub sent_at: Timestamp,
    /// The vector of the content.
    pub vector: Vector,
}

/// Some vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IndexedVectorPage {
    /// The vectors, ascending by message.
    pub rows: Vec<IndexedVector>,
    /// Where to go on; `None` at the end. A page may be empty and not the last.
    pub next: Option<MessageId>,
}

/// What a search wants of the messages that an index proposes.
#[derive(Clone, Debug)]
pub struct CandidateRequest {
    /// The messages, the best first.
    pub ids: Vec<MessageId>,
    /// Only guests' messages, or only users'.
    pub platform: Option<Platform>,
    /// At most so many are read.
    pub limit: usize,
}

/// A message that is there, as the tables have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its conversation.
    pub conversation: ConversationId,
    /// The message.
    pub message: Message,
    /// Its vector.
    pub vector: Vector,
}

/// All vectors of one model, as far as the tables have them.
#[async_trait]
pub trait VectorSource: std::fmt::Debug + Send + Sync {
    /// Whether other processes store messages in the same tables.
    fn is_shared(&self) -> bool {
        false
    }

    /// Vectors of `model`, ascending by message, after the given one; `limit` rows are looked at, also those of other models
    /// and those that are no vectors.
    async fn indexable(
        &self,
        model: &ModelId,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<IndexedVectorPage>;

    /// The vectors of these messages, as far as they are there and of `model`; in any order.
    async fn indexable_of(
        &self,
        model: &ModelId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<IndexedVector>>;

    /// Messages whose vector was stored at a time or later, by the clock of who stored it, each with that time, ascending by
    /// both; at most `limit`, after the given one. Nothing where tables are not shared: whoever stores there knows it.
    async fn embedded_since(
        &self,
        _since: Timestamp,
        _after: Option<MessageId>,
        _limit: usize,
    ) -> Result<Vec<(Timestamp, MessageId)>> {
        Ok(Vec::new())
    }

    /// How many messages there are to search: all but those in which `model` is known to find nothing.
    async fn searchable(&self, model: &ModelId) -> Result<u64>;

    /// Those of the proposed messages that are there at `now` and have a vector of `model`, in the order of the proposal, all
    /// read as of one moment.
    async fn candidates(
        &self,
        model: &ModelId,
        proposal: CandidateRequest,
        now: Timestamp,
    ) -> Result<Vec<Candidate>>;
}
