//! Vectors from any server that speaks OpenAI's `POST /embeddings`: OpenAI itself, vLLM, Ollama, llama.cpp, TEI.
//!
//! Here for chats in other languages than English and for search better than the built-in table gives. It needs the
//! network, so it never runs on the request path ([`Embedder::inline`] is `None`), and it does not retry: the
//! caller keeps the queue and decides, told by [`EmbedError`] whether and when that can help.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::call::EmbeddingClient;
use super::endpoint::Endpoint;
use super::{EmbedError, Embedder, InlineEmbedder, reply};
use guestbook_core::api_key::{ApiKey, BadKey};
use guestbook_core::{ModelId, Vector};

/// Texts in one request: few enough for every known server, enough to hide the round trip.
const INPUTS_PER_REQUEST: usize = 64;

/// Room for one number of the answer, in bytes; a double with a comma and a pretty-printer's indent takes about 40.
const BYTES_PER_NUMBER: usize = 64;

/// Room for what surrounds the numbers of an answer, in bytes.
const BYTES_AROUND: usize = 65_536;

/// What to ask a server for, and how.
#[derive(Debug, Clone)]
pub struct OpenAiOptions {
    /// The model's name, as the server knows it.
    pub model: String,
    /// How many dimensions its vectors have; a vector with another number is refused.
    pub dimension: usize,
    /// Sent as `Authorization: Bearer …`; `None` for servers that want none. Over plain `http` it travels in the clear.
    pub api_key: Option<SecretString>,
    /// The longest time for one request, from connecting to the last byte of the answer.
    pub timeout: Duration,
}

impl Default for OpenAiOptions {
    /// `text-embedding-3-small`, 1536 dimensions, no key, 10 seconds.
    fn default() -> Self {
        Self {
            model: "text-embedding-3-small".to_owned(),
            dimension: 1536,
            api_key: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// An embedder behind HTTP.
#[derive(Debug)]
pub struct OpenAi {
    id: ModelId,
    model: String,
    dimension: usize,
    call: EmbeddingClient,
}

/// The body of a request.
#[derive(Serialize)]
struct EmbeddingRequest<'a> {
    model: &'a str,
    input: &'a [&'a str],
    encoding_format: &'static str,
}

/// One answer per text.
type TextResults = Vec<Result<Option<Vector>, EmbedError>>;

impl OpenAi {
    /// Prepares the embedder; nothing is sent yet.
    ///
    /// The digest in its [`ModelId`] is the SHA-256 of `URL\nmodel`, the URL as [`Endpoint::as_str`] gives it: what a
    /// server really runs under a name cannot be seen from here.
    ///
    /// # Errors
    /// [`BadOptions`] if an option cannot be used or TLS cannot be set up.
    pub fn new(endpoint: Endpoint, options: OpenAiOptions) -> Result<Self, BadOptions> {
        check(&options)?;
        let key = key(&options)?;
        let digest = Sha256::new()
            .chain_update(endpoint.as_str())
            .chain_update("\n")
            .chain_update(&options.model)
            .finalize();
        Ok(Self {
            id: ModelId::new(&options.model, options.dimension, &digest.into()),
            model: options.model,
            dimension: options.dimension,
            call: EmbeddingClient::new(endpoint, key, options.timeout)
                .map_err(BadOptions::Client)?,
        })
    }

    /// One request, of 1 to [`INPUTS_PER_REQUEST`] texts that are not blank.
    async fn ask(&self, input: &[&str]) -> Result<TextResults, EmbedError> {
        let request = EmbeddingRequest {
            model: &self.model,
            input,
            encoding_format: "float",
        };
        let json = serde_json::to_vec(&request).expect("strings always become JSON");
        let room = BYTES_AROUND + input.len() * self.dimension * BYTES_PER_NUMBER;
        let body = self.call.post(json, room).await?;
        let vectors = reply::read(&body, input.len(), self.dimension)
            .map_err(|detail| self.call.permanent(&detail))?;
        let answer = |vector: Result<Vector, String>| {
            let failed = |detail: String| self.call.permanent(&detail);
            vector.map(Some).map_err(failed)
        };
        Ok(vectors.into_iter().map(answer).collect())
    }
}

#[async_trait]
impl Embedder for OpenAi {
    fn model(&self) -> &ModelId {
        &self.id
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn inline(&self) -> Option<&dyn InlineEmbedder> {
        None
    }

    async fn embed(&self, texts: &[&str]) -> TextResults {
        let mut answers = vec![Ok(None); texts.len()];
        // Servers refuse an empty input, and a blank one has nothing to embed.
        let blank = |&place: &usize| texts[place].trim().is_empty();
        let places: Vec<usize> = (0..texts.len()).filter(|place| !blank(place)).collect();
        let mut down = None;
        for places in places.chunks(INPUTS_PER_REQUEST) {
            let input: Vec<&str> = places.iter().map(|&place| texts[place]).collect();
            let asked = match &down {
                // Not asked again: a server that stalls would cost the whole time-out for each further request.
                Some(error) => Err(EmbedError::clone(error)),
                None => self.ask(&input).await,
            };
            let batch = asked.unwrap_or_else(|error| {
                down = Some(error.clone()).filter(EmbedError::is_transient);
                vec![Err(error); places.len()]
            });
            for (&place, answer) in places.iter().zip(batch) {
                answers[place] = answer;
            }
        }
        answers
    }

    /// A request of its own: who is asked before whom is the server's affair.
    async fn embed_next(&self, text: &str) -> Result<Option<Vector>, EmbedError> {
        self.embed(&[text]).await.pop().unwrap_or(Ok(None))
    }
}

/// Why an embedder of this kind cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOptions {
    /// The model's name is blank.
    #[error("the embedding model has no name")]
    NoModel,
    /// The dimension is 0.
    #[error("the embedding dimension must be at least 1")]
    NoDimension,
    /// The time-out is 0.
    #[error("the embedding time-out must be longer than 0 s")]
    NoTimeout,
    /// The API key cannot be sent.
    #[error(
        "the embedding API key {0}; correct GUESTBOOK_EMBEDDER_KEY or OPENAI_API_KEY, the first of them that is set"
    )]
    BadKey(BadKey),
    /// The HTTP client or TLS could not be set up.
    #[error("cannot set up the HTTP client for embeddings: {0}")]
    Client(String),
}

fn check(options: &OpenAiOptions) -> Result<(), BadOptions> {
    if options.model.trim().is_empty() {
        return Err(BadOptions::NoModel);
    }
    if options.dimension == 0 {
        return Err(BadOptions::NoDimension);
    }
    if options.timeout.is_zero() {
        return Err(BadOptions::NoTimeout);
    }
    Ok(())
}

/// The key, read as every key is.
fn key(options: &OpenAiOptions) -> Result<Option<ApiKey>, BadOptions> {
    let key = options.api_key.as_ref().map(ExposeSecret::expose_secret);
    key.map(str::parse).transpose().map_err(BadOptions::BadKey)
}
