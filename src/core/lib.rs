//! The words of the field and nothing else: ids, roles, messages, conversations, usage, time, and the pure functions over
//! them (title, tokens, hash chain, list window).
//!
//! Everything above and below this module speaks in these types, so a value that exists has been checked once, at the
//! edge. Imports nothing of ours but the loops over numbers. Begin with [`NewMessage`].
//!
//! **Invariant:** no I/O, no clock, no random source, no runtime and no driver is named here.

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

pub mod api_key;
mod content;
mod context;
mod conversation;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod ids;
mod json;
mod message;
mod prompt;
mod receipt;
mod search;
mod similarity;
mod time;
mod usage;
mod vector;
mod window;
mod words;

pub use content::{Content, Metadata, tokens};
pub use context::{
    ContextBudget, InclusionReason, MessageSummary, SelectedMessage, SelectionRange, choose,
};
pub use conversation::{Conversation, Platform, title};
pub use hash::{Digest, chain_link, chain_start, content_hash};
pub use ids::{ClientId, ConversationId, GuestId, IdempotencyKey, MessageId, OwnerId};
pub use message::{Message, NewMessage, Role};
pub use prompt::{MOST_WORDS, PromptKey, PromptScope, PromptSetting, normalised, same_question};
pub use receipt::{EmbeddingState, ListState, Receipt, RowState};
pub use search::{
    Filters, Hit, Limit, MessagePosition, Score, SearchMode, SearchResults, SearchText, TopK,
};
pub use similarity::{QuantizedQuery, square};
pub use time::{Clock, ManualClock, SystemClock, Timestamp, Ttl, rounded_ms};
pub use usage::Usage;
pub use vector::{BadVector, ModelId, Vector};
pub use window::{Window, window_of};
pub use words::{Words, indexed};

use thiserror::Error;

/// A value from outside that breaks a rule of the contract: which field, and the rule.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{field}: {rule}")]
pub struct InvalidField {
    /// The JSON field, header or path segment as the client wrote it, e.g. `content` or `messages[3].role`.
    pub field: String,
    /// What is wrong and what would be right, for the reader of a 422.
    pub rule: String,
}

impl InvalidField {
    /// Names the field and the rule it breaks.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            rule: rule.into(),
        }
    }

    /// The same fault seen from the document that holds the field: `role` becomes `messages[3].role`.
    pub fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}
