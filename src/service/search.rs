//! Search within a guest's chat or a user's conversations, or by words over all, and the context selection for a model.

use super::Service;
use guestbook_core::error::Result;
use guestbook_core::{
    ContextBudget, Filters, GuestId, Limit, ModelId, SearchResults, SearchText, Vector, Words,
};
use guestbook_embed::{EmbedError, Embedder};
use guestbook_storage::database::{
    Context, ContextRequest, SearchQuery, SearchRequest, SearchScope, WordsRequest,
};
use std::time::Duration;

/// How long a model may take to embed a query. Less than a request's deadline, so that the client gets a reason.
const MODEL_TIME: Duration = Duration::from_secs(3);

/// Why a query has no vector. Each message says what to do instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum QueryEmbeddingError {
    /// No embedding model is configured.
    #[error(
        "messages are found by meaning only where there is an embedder, and this server runs with --embedder none; use \
         mode=text, or start the server with another one and run `guestbook reembed`"
    )]
    NoEmbedder,
    /// The text has no word that the model knows.
    #[error("holds nothing that the model {0} knows; mode=text looks for the words as they are")]
    Nothing(ModelId),
    /// The model refuses the text.
    #[error("the model refuses it ({0}); mode=text looks for the words as they are")]
    Refused(String),
    /// The model is unavailable or too slow.
    #[error(
        "the model does not answer ({0}); try again shortly, or use mode=text, which needs no model"
    )]
    Unanswered(String),
}

impl Service {
    /// Embeds a query with the model in use, inline only if the model takes microseconds.
    ///
    /// # Errors
    /// [`QueryEmbeddingError`].
    pub async fn embed_query(
        &self,
        text: &SearchText,
    ) -> std::result::Result<(ModelId, Vector), QueryEmbeddingError> {
        let embedder = self.0.parts.embedder.as_deref();
        let embedder = embedder.ok_or(QueryEmbeddingError::NoEmbedder)?;
        let seen = match embedder.inline() {
            Some(inline) => inline.embed_now(text.as_str()),
            None => ask(embedder, text).await?,
        };
        let model = embedder.model().clone();
        match seen {
            Ok(Some(vector)) => Ok((model, vector)),
            Ok(None) => Err(QueryEmbeddingError::Nothing(model)),
            Err(EmbedError::Permanent { cause }) => Err(QueryEmbeddingError::Refused(cause)),
            Err(EmbedError::Transient { cause, .. }) => Err(QueryEmbeddingError::Unanswered(cause)),
        }
    }

    /// The best matches among the messages of a guest or a user, best first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn search(
        &self,
        scope: SearchScope,
        sought: SearchQuery,
        k: Limit,
    ) -> Result<SearchResults> {
        let now = self.now();
        let request = SearchRequest {
            scope,
            sought,
            k,
            now,
        };
        self.stores().search.search(request).await
    }

    /// The newest messages of all conversations that contain all words.
    ///
    /// # Errors
    /// `Conflict` without a full-text index; those of the database.
    pub async fn search_words(
        &self,
        words: Words,
        k: Limit,
        filters: Filters,
    ) -> Result<SearchResults> {
        let now = self.now();
        let request = WordsRequest {
            words,
            k,
            filters,
            now,
        };
        self.stores().search.search_words(request).await
    }

    /// The messages of a guest's chat to send to a model; `None` when there is no chat.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn context_for_model(
        &self,
        guest: GuestId,
        budget: ContextBudget,
        about: Option<(ModelId, Vector)>,
    ) -> Result<Option<Context>> {
        let now = self.now();
        let request = ContextRequest {
            guest,
            budget,
            about,
            now,
        };
        self.stores().search.context(request).await
    }
}

/// Embeds with a model that has threads or a server of its own.
async fn ask(
    embedder: &dyn Embedder,
    text: &SearchText,
) -> std::result::Result<std::result::Result<Option<Vector>, EmbedError>, QueryEmbeddingError> {
    let result = tokio::time::timeout(MODEL_TIME, embedder.embed_next(text.as_str())).await;
    result.map_err(|_| {
        let late = format!("not within {} s", MODEL_TIME.as_secs());
        QueryEmbeddingError::Unanswered(late)
    })
}
