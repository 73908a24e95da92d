//! The prompt cache. Losing an entry costs its generation and nothing else, so entries are never written in a transaction
//! with messages, and their commits never wait for the disk.

use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{
    Content, ModelId, OwnerId, PromptKey, PromptScope, PromptSetting, Timestamp, Vector,
};
use uuid::Uuid;

/// An entry to store.
#[derive(Clone, Debug)]
pub struct NewCacheEntry {
    /// Its key.
    pub key: PromptKey,
    /// The prompt as it was sent.
    pub prompt: Content,
    /// The model's response.
    pub response: Content,
    /// The prompt's vector and its model, if similar prompts may be served this entry.
    pub vector: Option<(ModelId, Vector)>,
    /// How long the model took, in milliseconds.
    pub generation_ms: f64,
    /// Tokens that the model read.
    pub input_tokens: u64,
    /// Tokens that it wrote.
    pub output_tokens: u64,
    /// The entry's expiry.
    pub expires_at: Timestamp,
}

impl NewCacheEntry {
    /// Bytes besides texts, names and vector: the row's id, hashes, times and numbers, and its places in the four indexes. Measured
    /// with SQLite, whose pages are then about as full as they stay (`tests/contract/prompt_size.rs`).
    pub const OVERHEAD: usize = 672;

    /// Its size within the cache: about the bytes that it takes in the tables. The scope stands in the row and in an index.
    pub fn bytes(&self) -> u64 {
        let vector =
            |(model, vector): &(ModelId, Vector)| model.as_str().len() + vector.dimension();
        let setting = &self.key.setting;
        let names = 2 * setting.scope.to_string().len() + setting.model.len();
        let texts = self.prompt.as_str().len() + self.response.as_str().len();
        (Self::OVERHEAD + names + texts + self.vector.as_ref().map_or(0, vector)) as u64
    }
}

/// A stored entry.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheEntry {
    /// Its row's id.
    pub id: Uuid,
    /// The prompt that the model was sent.
    pub prompt: Content,
    /// The model's response.
    pub response: Content,
    /// How long the model took, in milliseconds.
    pub generation_ms: f64,
    /// Tokens that the model read.
    pub input_tokens: u64,
    /// Tokens that it wrote.
    pub output_tokens: u64,
    /// Hits written so far.
    pub hits: u64,
    /// When it was stored.
    pub created_at: Timestamp,
    /// Its expiry.
    pub expires_at: Timestamp,
}

/// A prompt that may have the same meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct NearPrompt {
    /// The prompt.
    pub prompt: Content,
    /// Its vector.
    pub vector: Vector,
}

/// Counters of lookups, not written yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LookupTotals {
    /// Lookups with a hit.
    pub hits: u64,
    /// Lookups without one.
    pub misses: u64,
    /// Tokens of the entries hit, read and written: what the model did not have to process.
    pub tokens_saved: u64,
    /// Generation time of the entries hit, in milliseconds.
    pub saved_ms: f64,
    /// The entries hit.
    pub given: Vec<CacheHits>,
    /// The same per owner, for `usage_metrics`. Owners without a row there are not counted.
    pub owners: Vec<OwnerLookups>,
}

/// Hits of one entry.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheHits {
    /// Its row's id.
    pub id: Uuid,
    /// The number of hits.
    pub hits: u64,
    /// The last access.
    pub last: Timestamp,
}

/// Lookups of one owner.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LookupCounts {
    /// Hits.
    pub hits: u64,
    /// Misses.
    pub misses: u64,
    /// Tokens saved by the hits.
    pub tokens_saved: u64,
}

/// An owner's lookups.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnerLookups {
    /// The owner.
    pub owner: OwnerId,
    /// The counts.
    pub counts: LookupCounts,
}

impl LookupTotals {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.hits + self.misses == 0
    }
}

/// Size and hit counters of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PromptStats {
    /// Live entries.
    pub entries: u64,
    /// Expired entries, which the next sweep removes.
    pub expired: u64,
    /// Scopes with an entry.
    pub scopes: u64,
    /// Entries that similar prompts may be served.
    pub with_vector: u64,
    /// Bytes of texts and vectors, see [`NewCacheEntry::bytes`].
    pub bytes: u64,
    /// Hits of all time.
    pub hits: u64,
    /// Misses of all time.
    pub misses: u64,
    /// Tokens saved in all.
    pub tokens_saved: u64,
    /// Generation time saved in all, in milliseconds.
    pub saved_ms: f64,
}

impl PromptStats {
    /// Hits divided by lookups; 0 without lookups.
    pub fn hit_rate(&self) -> f64 {
        match self.hits + self.misses {
            0 => 0.0,
            lookups => self.hits as f64 / lookups as f64,
        }
    }
}

/// The prompt cache's table.
#[async_trait]
pub trait Prompts: std::fmt::Debug + Send + Sync {
    /// The live entries at these keys at `now`, in order. A read.
    async fn prompts_find(
        &self,
        keys: &[PromptKey],
        now: Timestamp,
    ) -> Result<Vec<Option<CacheEntry>>>;

    /// Live prompts of the same setting with a vector of `model` at `now`: the most recently used, at most `limit`.
    async fn prompts_near(
        &self,
        setting: &PromptSetting,
        model: &ModelId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<NearPrompt>>;

    /// Stores entries; each replaces the entry at its key and keeps its hits. Of two entries at one key the later one wins.
    async fn prompts_put(&self, answers: Vec<NewCacheEntry>, at: Timestamp) -> Result<()>;

    /// Removes at most `limit` entries of a scope, or of all; returns how many.
    async fn prompts_remove(&self, scope: Option<&PromptScope>, limit: usize) -> Result<usize>;

    /// Removes at most `limit` entries expired at `now`; returns how many.
    async fn prompts_expire(&self, now: Timestamp, limit: usize) -> Result<usize>;

    /// Removes at most `limit` of the least recently used entries, until the rest fits into `bytes`; returns how many.
    async fn prompts_evict(&self, bytes: u64, limit: usize) -> Result<usize>;

    /// Counts lookups: hits and last access of each entry, the owners' counters, the hour of `at`.
    async fn lookup_totals(&self, deltas: LookupTotals, at: Timestamp) -> Result<()>;

    /// The statistics at `now`.
    async fn prompts_stats(&self, now: Timestamp) -> Result<PromptStats>;
}
