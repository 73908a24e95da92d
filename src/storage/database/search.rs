//! Searching the messages of one guest or one user, and reading what a context selection needs.
//!
//! Queries read the tables directly: there is no index to maintain, and none that can lag. Each call reads one snapshot, so a
//! message deleted or expired before it began is not found.
//!
//! Only words over all conversations need a full-text index, which the database updates in the transaction that stores a
//! message, if the settings enable it. It proposes candidates; [`Words`] decides on the message read in the same snapshot.

use async_trait::async_trait;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{
    ContextBudget, Filters, GuestId, InclusionReason, Limit, Message, ModelId, OwnerId,
    SearchResults, Timestamp, Vector, Words,
};

/// The messages to search.
#[derive(Clone, Debug)]
pub enum SearchScope {
    /// A guest's chat.
    Guest(GuestId),
    /// Every conversation that a signed-in user owns.
    User(OwnerId),
}

/// The criterion of a search.
#[derive(Clone, Debug)]
pub enum SearchQuery {
    /// Nearness to a vector of this model. Messages without a vector of this model are not compared.
    Meaning {
        /// The model in use.
        model: ModelId,
        /// The query's vector.
        vector: Vector,
    },
    /// All of these words. The newest messages are the best hits.
    Text(Words),
}

/// A search.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// The messages to search.
    pub scope: SearchScope,
    /// The criterion.
    pub sought: SearchQuery,
    /// Hits at most.
    pub k: Limit,
    /// The present: what has expired by then is not found.
    pub now: Timestamp,
}

/// A search for words over all conversations.
#[derive(Clone, Debug)]
pub struct WordsRequest {
    /// The words, all of which a message must contain.
    pub words: Words,
    /// Hits at most.
    pub k: Limit,
    /// The filters on messages. Every hit has the full score, so no minimum score excludes one.
    pub filters: Filters,
    /// The present: what has expired by then is not found.
    pub now: Timestamp,
}

/// The request for a context of a guest's chat.
#[derive(Clone, Debug)]
pub struct ContextRequest {
    /// The guest.
    pub guest: GuestId,
    /// Its size limits.
    pub budget: ContextBudget,
    /// The model and the query's vector that older messages must be near to, if any are wanted.
    pub about: Option<(ModelId, Vector)>,
    /// The present moment.
    pub now: Timestamp,
}

/// Messages for a model, in sequence order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The messages.
    pub messages: Vec<ContextMessage>,
    /// Messages compared in the search among older ones: those with a vector of the model in use.
    pub searched: u64,
    /// Messages in the searched range; 0 without a search.
    pub of: u64,
}

/// A message of a context.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextMessage {
    /// The message.
    pub message: Message,
    /// Its share of the budget.
    pub tokens: u64,
    /// Why it was included.
    pub why: InclusionReason,
}

/// Messages that a query may add to a context at most, each with its exchange.
pub const RELEVANT: usize = 64;

/// Searching within a guest's or a user's messages.
#[async_trait]
pub trait Search: std::fmt::Debug + Send + Sync {
    /// The best matches, best first; empty without a chat.
    async fn search(&self, request: SearchRequest) -> Result<SearchResults>;

    /// The newest messages of all conversations that have all words, by the time of storing and, within a moment, by
    /// [`guestbook_core::MessagePosition`]. All messages count as searched.
    ///
    /// # Errors
    /// `Conflict` if the full-text index is disabled.
    async fn search_words(&self, request: WordsRequest) -> Result<SearchResults>;

    /// What [`guestbook_core::choose`] takes of a guest's chat; `None` when there is none, or retention has ended it.
    async fn context(&self, request: ContextRequest) -> Result<Option<Context>>;
}

/// The error without a full-text index.
pub fn no_text_index(backend: &'static str) -> Error {
    let context = "no index over the words of all messages is kept; start the server with --text-index on, or search within a \
                   guest's chat or a user's conversations (GET …/search?mode=text), which needs none";
    Error::new(ErrorKind::Conflict, backend, "search_words", context)
}
