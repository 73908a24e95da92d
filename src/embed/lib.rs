//! Turns the content of a message into a [`Vector`], so that it can be found by meaning.
//!
//! One trait, [`Embedder`], behind which stand the built-in table ([`table::StaticTable`]: no service, about a
//! microsecond a message), any server that speaks OpenAI's embeddings call ([`openai::OpenAi`]), and a small transformer on
//! this machine's CPU (the crate `minilm`: some milliseconds). Only the binary knows which one is open. Nothing in here retries,
//! queues or stores: the caller owns that, and gets errors that say whether trying again can help.
//!
//! Imports `core`. Begin with [`Embedder`].

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

mod call;
pub mod endpoint;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod openai;
mod reply;
pub mod table;
pub mod vocabulary;
pub mod wordpiece;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use guestbook_core::{ModelId, Vector};

/// A source of vectors.
#[async_trait]
pub trait Embedder: Debug + Send + Sync {
    /// Which model the vectors are of; stored with each, and vectors of different models are never compared.
    fn model(&self) -> &ModelId;

    /// How many dimensions every vector has.
    fn dimension(&self) -> usize;

    /// This embedder as one that may run on the request path, if it may. `None`: it needs the network or much
    /// time, so it belongs in the background, behind [`Embedder::embed`].
    fn inline(&self) -> Option<&dyn InlineEmbedder>;

    /// The cosine from which two prompts may ask the same, as it was measured for this model; `None`: it was not. Never enough
    /// by itself, see [`guestbook_core::same_question`].
    fn same_above(&self) -> Option<f32> {
        None
    }

    /// The vectors of `texts`: one answer for each, in order. `Ok(None)`: there is nothing in it to embed.
    ///
    /// # Errors
    /// [`EmbedError`], per text. A request carries several texts, so one refused as a whole fails them all alike:
    /// before a text that failed permanently is given up, ask for it alone.
    async fn embed(&self, texts: &[&str]) -> Vec<Result<Option<Vector>, EmbedError>>;

    /// The vector of a text that somebody waits for, such as that of a search; `Ok(None)`: there is nothing in it to embed. Where
    /// texts wait in line, it goes before those of [`Embedder::embed`].
    ///
    /// # Errors
    /// [`EmbedError`].
    async fn embed_next(&self, text: &str) -> Result<Option<Vector>, EmbedError>;
}

/// An embedder that answers within microseconds and without waiting for anything.
///
/// A trait of its own, and not a method that fails for the others, so that the compiler keeps the network off
/// the request path.
pub trait InlineEmbedder: Embedder {
    /// The vector of `text`; `Ok(None)`: there is nothing in it to embed.
    ///
    /// # Errors
    /// [`EmbedError`] if the model cannot give this text a vector.
    fn embed_now(&self, text: &str) -> Result<Option<Vector>, EmbedError>;
}

/// Why a text has no vector.
///
/// The cause says what happened and where; it never holds an API key, nor the credentials or the query of a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// The same text may succeed later: a time-out, no connection, or an answer of 408, 429 or 5xx.
    #[error("{cause}")]
    Transient {
        /// What happened, and where.
        cause: String,
        /// How long the server asked to wait; at most an hour.
        retry_after: Option<Duration>,
    },
    /// The same text fails again until something is changed: any other status, or an answer that holds no usable vector.
    #[error("{cause}")]
    Permanent {
        /// What happened, and where.
        cause: String,
    },
}

impl EmbedError {
    /// Whether trying the same again later can help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}
