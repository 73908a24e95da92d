//! The prompt cache: an entry is served to the same prompt or, if the caller allows it, to a prompt of the same meaning.
//!
//! A lookup is a read. Entries and counters are written in groups by `keeping.rs`, beside the write path of the messages.

mod keeping;
mod lookups;

pub(super) use keeping::{PendingPut, PutQueue, keep_loop};
pub(super) use lookups::LookupCounters;

use super::Service;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{
    Content, GuestId, OwnerId, PromptKey, PromptScope, PromptSetting, Vector, same_question,
};
use guestbook_storage::database::{CacheEntry, NewCacheEntry, PromptStats};
use std::time::Duration;

/// Prompts of one setting that are compared by their vectors: the most recently used. Bounds the cost of a lookup.
const COMPARED: usize = 1024;
/// The nearest prompts, which are then compared word by word.
const NEAREST: usize = 5;
/// Entries removed per transaction, so that messages never wait for long.
const PAGE: usize = 256;

/// A prompt to look up.
#[derive(Clone, Debug)]
pub struct PromptLookup {
    /// The model and its parameters.
    pub setting: PromptSetting,
    /// The prompt.
    pub prompt: Content,
    /// The guest it is counted for, besides the guest of the scope.
    pub guest: Option<GuestId>,
    /// Whether an entry of another prompt with the same meaning is acceptable.
    pub semantic: bool,
}

impl PromptLookup {
    fn owner(&self) -> Option<OwnerId> {
        let guest = self.guest.as_ref().or(self.setting.scope.guest());
        guest.map(OwnerId::from)
    }
}

/// A cache entry, and how it matched.
#[derive(Clone, Debug)]
pub struct PromptHit {
    /// The entry.
    pub answer: CacheEntry,
    /// The cosine of the two prompts, unless they are identical.
    pub score: Option<f32>,
}

/// A model's response to be cached.
#[derive(Clone, Debug)]
pub struct PromptPut {
    /// The model and its parameters.
    pub setting: PromptSetting,
    /// The prompt.
    pub prompt: Content,
    /// The model's response.
    pub response: Content,
    /// Generation time in milliseconds.
    pub generation_ms: f64,
    /// Tokens that the model read.
    pub input_tokens: u64,
    /// Tokens that it wrote.
    pub output_tokens: u64,
    /// The entry's TTL; at most, and by default, the setting's.
    pub ttl: Option<Duration>,
    /// Whether other prompts of the same meaning may be served this entry.
    pub semantic: bool,
}

impl Service {
    /// Looks a prompt up and counts a hit or a miss.
    ///
    /// # Errors
    /// `Invalid` for a semantic lookup if the embedding model does not support it; those of the database.
    pub async fn lookup(&self, lookup: &PromptLookup) -> Result<Option<PromptHit>> {
        let threshold = self.threshold(lookup.semantic)?;
        let key = PromptKey::new(lookup.setting.clone(), lookup.prompt.as_str());
        let exact = self.entry_at(key).await?;
        let found = match (exact, threshold) {
            (Some(answer), _) => Some(PromptHit {
                answer,
                score: None,
            }),
            (None, Some(threshold)) => self.similar(lookup, threshold).await?,
            (None, None) => None,
        };
        let answer = found.as_ref().map(|found| &found.answer);
        self.0.lookups.count(answer, lookup.owner(), self.now());
        Ok(found)
    }

    async fn entry_at(&self, key: PromptKey) -> Result<Option<CacheEntry>> {
        let found = self.stores().prompts.prompts_find(&[key], self.now()).await;
        Ok(found?.pop().flatten())
    }

    /// The entry of the nearest prompt with the same meaning.
    async fn similar(&self, lookup: &PromptLookup, threshold: f32) -> Result<Option<PromptHit>> {
        let prompt = lookup.prompt.as_str();
        let Some(vector) = self.prompt_vector(prompt).await else {
            return Ok(None);
        };
        let Some(embedder) = &self.0.parts.embedder else {
            return Ok(None);
        };
        let (prompts, setting) = (&self.stores().prompts, &lookup.setting);
        let near = prompts
            .prompts_near(setting, embedder.model(), self.now(), COMPARED)
            .await?;
        let mut near: Vec<_> = near
            .into_iter()
            .filter_map(|near| Some((vector.cosine(&near.vector)?, near.prompt)))
            .filter(|(score, _)| *score >= threshold)
            .collect();
        near.sort_by(|one, other| other.0.total_cmp(&one.0));
        let mut nearest = near.into_iter().take(NEAREST);
        let Some((score, same)) = nearest.find(|(_, other)| same_question(prompt, other.as_str()))
        else {
            return Ok(None);
        };
        let key = PromptKey::new(setting.clone(), same.as_str());
        // An entry put since the exact lookup may be of this very prompt.
        let is_exact = key == PromptKey::new(setting.clone(), prompt);
        let answer = self.entry_at(key).await?;
        Ok(answer.map(|answer| PromptHit {
            answer,
            score: (!is_exact).then_some(score),
        }))
    }

    /// The cosine from which prompts are compared word by word; `None` when they are not to be.
    fn threshold(&self, semantic: bool) -> Result<Option<f32>> {
        if !semantic {
            return Ok(None);
        }
        let embedder = self.0.parts.embedder.as_ref();
        let threshold = embedder.and_then(|embedder| embedder.same_above());
        let refused = || {
            let model = embedder.map_or("none", |embedder| embedder.model().as_str());
            let context = format!(
                "semantic: the embedder of this server is {model}, for which nobody has measured how close two prompts must \
                 be; leave it out, or serve with --embedder static or minilm:DIR"
            );
            Error::new(ErrorKind::Invalid, "service", "lookup", context)
        };
        threshold.ok_or_else(refused).map(Some)
    }

    /// The vector of a prompt, unless the guard can never accept the prompt.
    async fn prompt_vector(&self, prompt: &str) -> Option<Vector> {
        if !same_question(prompt, prompt) {
            return None;
        }
        let embedder = self.0.parts.embedder.as_ref()?;
        let embedded = match embedder.inline() {
            Some(inline) => inline.embed_now(prompt),
            None => embedder.embed_next(prompt).await,
        };
        embedded.unwrap_or_else(|cause| {
            tracing::warn!(step = "prompt", %cause, "a prompt has no vector, and is compared by its words only");
            None
        })
    }

    /// Caches a response.
    ///
    /// # Errors
    /// As [`Self::lookup`]; `Busy` when too many wait.
    pub async fn keep(&self, keep: PromptPut) -> Result<NewCacheEntry> {
        self.threshold(keep.semantic)?;
        let vector = match (&self.0.parts.embedder, keep.semantic) {
            (Some(embedder), true) => {
                let vector = self.prompt_vector(keep.prompt.as_str()).await;
                vector.map(|vector| (embedder.model().clone(), vector))
            }
            _ => None,
        };
        let most = self.settings().prompt_ttl;
        let entry = NewCacheEntry {
            key: PromptKey::new(keep.setting, keep.prompt.as_str()),
            prompt: keep.prompt,
            response: keep.response,
            vector,
            generation_ms: keep.generation_ms,
            input_tokens: keep.input_tokens,
            output_tokens: keep.output_tokens,
            expires_at: self.now().plus(keep.ttl.map_or(most, |ttl| ttl.min(most))),
        };
        self.0.keeping.pass(entry.clone()).await?;
        Ok(entry)
    }

    /// Removes the entries of a scope, or all of them; returns how many.
    ///
    /// # Errors
    /// Those of the database; some may have been removed then.
    pub async fn forget(&self, scope: Option<&PromptScope>) -> Result<u64> {
        let (prompts, mut removed) = (&self.stores().prompts, 0);
        loop {
            let page = prompts.prompts_remove(scope, PAGE).await?;
            removed += page as u64;
            if page < PAGE {
                return Ok(removed);
            }
        }
    }

    /// Size and hit counters of the cache.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn prompt_stats(&self) -> Result<PromptStats> {
        self.stores().prompts.prompts_stats(self.now()).await
    }
}
