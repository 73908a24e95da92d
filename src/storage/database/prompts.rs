//! The prompt cache. Losing an entry costs its generation and nothing else, so no entry is ever written together with a
//! message, and no commit of one waits for the disk.

use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{
    Content, ModelId, OwnerId, PromptKey, PromptScope, PromptSetting, Timestamp, Vector,
};
use uuid::Uuid;

/// An answer to keep.
#[derive(Clone, Debug)]
pub struct NewCacheEntry {
    /// Where it is found.
    pub key: PromptKey,
    /// The prompt as it was sent.
    pub prompt: Content,
    /// What the model said.
    pub response: Content,
    /// The prompt's vector and its model, where similar prompts may be given this answer, too.
    pub vector: Option<(ModelId, Vector)>,
    /// How long the model took, in milliseconds.
    pub generation_ms: f64,
    /// Tokens that the model read.
    pub input_tokens: u64,
    /// Tokens that it wrote.
    pub output_tokens: u64,
    /// Until when the answer is good.
    pub expires_at: Timestamp,
}

impl NewCacheEntry {
    /// Bytes that it counts for against the size of the cache: its texts and its vector.
    pub fn bytes(&self) -> u64 {
        let vector = self.vector.as_ref().map_or(0, |(_, it)| it.dimension());
        (self.prompt.as_str().len() + self.response.as_str().len() + vector) as u64
    }
}

/// An answer that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheEntry {
    /// Its row.
    pub id: Uuid,
    /// The prompt that it was given to.
    pub prompt: Content,
    /// What the model said.
    pub response: Content,
    /// How long the model took, in milliseconds.
    pub generation_ms: f64,
    /// Tokens that the model read.
    pub input_tokens: u64,
    /// Tokens that it wrote.
    pub output_tokens: u64,
    /// How often it was given again, as far as that has been written.
    pub hits: u64,
    /// When it was kept.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// A prompt that might ask the same.
#[derive(Clone, Debug, PartialEq)]
pub struct NearPrompt {
    /// The prompt.
    pub prompt: Content,
    /// Its vector.
    pub vector: Vector,
}

/// What was looked up and has not been written yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LookupTotals {
    /// Lookups that were answered.
    pub hits: u64,
    /// Lookups that were not.
    pub misses: u64,
    /// Tokens of the answers given: read and written, had the model been asked.
    pub tokens_saved: u64,
    /// How long the model would have taken for them, in milliseconds.
    pub saved_ms: f64,
    /// The answers that were given.
    pub given: Vec<CacheHits>,
    /// The same per owner, for `usage_metrics`. Who has no row there is not counted.
    pub owners: Vec<OwnerLookups>,
}

/// A hit: an entry that was returned.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheHits {
    /// Its row.
    pub id: Uuid,
    /// How often.
    pub hits: u64,
    /// When last.
    pub last: Timestamp,
}

/// Lookups of one owner.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LookupCounts {
    /// Those that were answered.
    pub hits: u64,
    /// Those that were not.
    pub misses: u64,
    /// Tokens saved by the answers.
    pub tokens_saved: u64,
}

/// Whose lookups, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnerLookups {
    /// Whose.
    pub owner: OwnerId,
    /// How many.
    pub counts: LookupCounts,
}

impl LookupTotals {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.hits + self.misses == 0
    }
}

/// What the cache holds and what it was good for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PromptStats {
    /// Answers that are good.
    pub entries: u64,
    /// Answers that have expired and are to be removed by the next sweep.
    pub expired: u64,
    /// Scopes that have an answer.
    pub scopes: u64,
    /// Entries that similar prompts may hit.
    pub with_vector: u64,
    /// Bytes of texts and vectors, see [`NewCacheEntry::bytes`].
    pub bytes: u64,
    /// Lookups of all time that were answered.
    pub hits: u64,
    /// Lookups of all time that were not.
    pub misses: u64,
    /// Tokens saved in all.
    pub tokens_saved: u64,
    /// Generation time saved in all, in milliseconds.
    pub saved_ms: f64,
}

impl PromptStats {
    /// Answered lookups among all of them, 0 when there were none.
    pub fn hit_rate(&self) -> f64 {
        match self.hits + self.misses {
            0 => 0.0,
            asked => self.hits as f64 / asked as f64,
        }
    }
}

/// The answers that are kept.
#[async_trait]
pub trait Prompts: std::fmt::Debug + Send + Sync {
    /// The answers at these keys that are good at `now`, in order. A read.
    async fn prompts_find(
        &self,
        keys: &[PromptKey],
        now: Timestamp,
    ) -> Result<Vec<Option<CacheEntry>>>;

    /// Prompts of the same setting with a vector of `model` that are good at `now`: the most recently used, at most `limit`.
    async fn prompts_near(
        &self,
        setting: &PromptSetting,
        model: &ModelId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<NearPrompt>>;

    /// Keeps answers; each takes the place of one at the same key, which keeps its hits. Of two at one key the later stays.
    async fn prompts_put(&self, answers: Vec<NewCacheEntry>, at: Timestamp) -> Result<()>;

    /// Removes answers of a scope, or of all, at most `limit`; how many.
    async fn prompts_remove(&self, scope: Option<&PromptScope>, limit: usize) -> Result<usize>;

    /// Removes answers that have expired at `now`, at most `limit`; how many.
    async fn prompts_expire(&self, now: Timestamp, limit: usize) -> Result<usize>;

    /// Removes the least recently used answers until the others have at most `bytes`, at most `limit`; how many.
    async fn prompts_evict(&self, bytes: u64, limit: usize) -> Result<usize>;

    /// Counts lookups: hits and last use of each answer, the owners' counters, the hour of `at`.
    async fn lookup_totals(&self, deltas: LookupTotals, at: Timestamp) -> Result<()>;

    /// What there is at `now`.
    async fn prompts_stats(&self, now: Timestamp) -> Result<PromptStats>;
}
