//! Finding messages of one guest or of one user, and choosing what of a chat a model is sent.
//!
//! Straight from the tables: no index has to be kept, so nothing is written for it and nothing can be behind. Each call reads
//! in one snapshot, so what was deleted or has expired before it began is not found.
//!
//! Only words over everything need an index, which the database keeps in the transaction that stores a message, and only
//! where the settings ask for it. It proposes; [`Words`] decides on the message as the tables have it in the same snapshot.

use async_trait::async_trait;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{
    ContextBudget, Filters, GuestId, InclusionReason, Limit, Message, ModelId, OwnerId,
    SearchResults, Timestamp, Vector, Words,
};

/// Whose messages to look at.
#[derive(Clone, Debug)]
pub enum SearchScope {
    /// A guest's chat.
    Guest(GuestId),
    /// Every conversation that a signed-in user owns.
    User(OwnerId),
}

/// What makes a message a hit.
#[derive(Clone, Debug)]
pub enum SearchQuery {
    /// A vector of this model that is near this one. Messages without one, or with one of another model, are not compared.
    Meaning {
        /// The model in use.
        model: ModelId,
        /// What is looked for, as that model sees it.
        vector: Vector,
    },
    /// All of these words. The newest messages are the best hits.
    Text(Words),
}

/// A search.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// Where to look.
    pub scope: SearchScope,
    /// What for.
    pub sought: SearchQuery,
    /// How many hits are wanted.
    pub k: Limit,
    /// The present moment: what has expired by then is not there.
    pub now: Timestamp,
}

/// A search for words over all conversations.
#[derive(Clone, Debug)]
pub struct WordsRequest {
    /// All of which a message must have.
    pub words: Words,
    /// How many hits are wanted.
    pub k: Limit,
    /// Which messages. Every hit has the full score, so no minimum keeps one away.
    pub filters: Filters,
    /// The present moment: what has expired by then is not there.
    pub now: Timestamp,
}

/// What a model is to be sent of a guest's chat.
#[derive(Clone, Debug)]
pub struct ContextRequest {
    /// Whose chat.
    pub guest: GuestId,
    /// How much of it.
    pub budget: ContextBudget,
    /// What the older messages are to be about, if any are wanted: a model and what it sees in the question.
    pub about: Option<(ModelId, Vector)>,
    /// The present moment.
    pub now: Timestamp,
}

/// Messages for a model, in sequence order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The messages.
    pub messages: Vec<ContextMessage>,
    /// Where older messages were looked for: how many were compared, because they have a vector of the model in use.
    pub searched: u64,
    /// How many messages there are where it looked; 0 when none was to be compared.
    pub of: u64,
}

/// A message of a context.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextMessage {
    /// The message.
    pub message: Message,
    /// What it takes of the budget.
    pub tokens: u64,
    /// Why it is there.
    pub why: InclusionReason,
}

/// How many messages a question may bring into a context at most, each with its exchange.
pub const RELEVANT: usize = 64;

/// Searching within a guest's or a user's messages.
#[async_trait]
pub trait Search: std::fmt::Debug + Send + Sync {
    /// The best messages, the best first; none where there is no chat.
    async fn search(&self, asked: SearchRequest) -> Result<SearchResults>;

    /// The newest messages of all conversations that have all words, by the time of storing and, within a moment, by
    /// [`guestbook_core::MessagePosition`]. All messages count as searched.
    ///
    /// # Errors
    /// `Conflict` where the settings ask for no index.
    async fn search_words(&self, asked: WordsRequest) -> Result<SearchResults>;

    /// What [`guestbook_core::choose`] takes of a guest's chat; `None` when there is none, or retention has ended it.
    async fn context(&self, asked: ContextRequest) -> Result<Option<Context>>;
}

/// What is said where there is no index over words.
pub fn no_text_index(backend: &'static str) -> Error {
    let context = "no index over the words of all messages is kept; start the server with --text-index on, or search within a \
                   guest's chat or a user's conversations (GET …/search?mode=text), which needs none";
    Error::new(ErrorKind::Conflict, backend, "search_words", context)
}
