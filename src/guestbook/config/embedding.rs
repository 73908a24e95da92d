//! Where vectors come from, whether all of them are in memory, and whether words are indexed.

use super::ranges::{ATTEMPTS, DIMENSIONS, count, duration};
use crate::embedder::EmbedderSpec;
use clap::{Args, ValueEnum};
use guestbook_service::IndexMode;
use secrecy::SecretString;
use std::time::Duration;

/// Where vectors come from.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Embedding")]
pub struct EmbeddingArgs {
    /// static (built in, English), minilm:DIR (all-MiniLM-L6-v2 on this CPU, English), openai:URL (an OpenAI-compatible server, e.g. `openai:https://api.openai.com/v1`), none (no vectors); on PostgreSQL or Redis it is stored for all nodes, and without this flag what is stored holds [default: static]
    #[arg(long, global = true, env = "GUESTBOOK_EMBEDDER", value_name = "SPEC")]
    pub embedder: Option<EmbedderSpec>,
    /// Model to ask an openai: embedder for [default: text-embedding-3-small]
    #[arg(
        long,
        global = true,
        env = "GUESTBOOK_EMBEDDER_MODEL",
        value_name = "NAME"
    )]
    pub embedder_model: Option<String>,
    /// Dimensions that model answers with [default: 1536]
    #[arg(
        long,
        global = true,
        env = "GUESTBOOK_EMBEDDER_DIMENSION",
        value_parser = count::<usize>(DIMENSIONS),
        value_name = "N"
    )]
    pub embedder_dimension: Option<usize>,
    /// API key of an openai: embedder [env: GUESTBOOK_EMBEDDER_KEY, OPENAI_API_KEY; not a flag, so that no process list shows it]
    #[arg(skip)]
    pub embedder_key: Option<SecretString>,
    /// How long one request to an openai: embedder may take
    #[arg(long, global = true, env = "GUESTBOOK_EMBEDDER_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub embedder_timeout: Duration,
    /// Tries before a message's vector is marked failed; the wait between them doubles from 1 s to at most 60 s
    #[arg(long, global = true, env = "GUESTBOOK_EMBEDDER_ATTEMPTS", default_value_t = 8, value_name = "N", value_parser = count::<u32>(ATTEMPTS))]
    pub embedder_attempts: u32,
    /// When the index that POST /v1/search uses is in memory: lazy (from the first search on), on (from the start), off
    #[arg(
        long,
        global = true,
        env = "GUESTBOOK_SEARCH_INDEX",
        default_value = "lazy",
        value_name = "WHEN"
    )]
    pub search_index: SearchIndex,
    /// Whether an index over the words of all messages is kept, which POST /v1/search with mode=text needs: on (every message costs more; old ones are taken in at the start), off (removes it); stored as --embedder is [default: off]
    #[arg(
        long,
        global = true,
        env = "GUESTBOOK_TEXT_INDEX",
        value_name = "WHETHER"
    )]
    pub text_index: Option<TextIndex>,
}

impl EmbeddingArgs {
    /// The embedder, also where none is named.
    pub fn embedder(&self) -> EmbedderSpec {
        self.embedder.clone().unwrap_or_default()
    }
}

/// Whether an index over the words of all messages is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum TextIndex {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// When there is an index over all messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum SearchIndex {
    /// From the first search on.
    Lazy,
    /// From the start.
    On,
    /// Never.
    Off,
}

impl From<SearchIndex> for IndexMode {
    fn from(when: SearchIndex) -> Self {
        match when {
            SearchIndex::Lazy => Self::Lazy,
            SearchIndex::On => Self::On,
            SearchIndex::Off => Self::Off,
        }
    }
}
