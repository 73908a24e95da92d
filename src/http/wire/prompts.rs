//! The JSON of the prompt cache.

use super::incoming::{present, text};
use guestbook_core::{
    Content, Digest, GuestId, InvalidField, PromptScope, PromptSetting, content_hash, tokens,
};
use guestbook_service::{PromptHit, PromptLookup, PromptPut};
use guestbook_storage::database::{NewCacheEntry, PromptStats};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;
use uuid::Uuid;

/// A prompt and its setting; every field is checked on its own.
#[derive(Deserialize)]
pub(crate) struct LookupRequest<'a> {
    #[serde(borrow)]
    scope: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    temperature: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    context_hash: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    guest_id: Option<&'a RawValue>,
    #[serde(borrow)]
    semantic: Option<&'a RawValue>,
}

/// A model's response to be cached.
#[derive(Deserialize)]
pub(crate) struct PutRequest<'a> {
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    generation_time: Option<&'a RawValue>,
    #[serde(borrow)]
    input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    ttl: Option<&'a RawValue>,
}

impl LookupRequest<'_> {
    /// The checked lookup.
    pub(crate) fn lookup(&self, content_limit: usize) -> Result<PromptLookup, InvalidField> {
        let setting = self.setting()?;
        let guest = present(self.guest_id)
            .map(|raw| GuestId::parse(&text("guest_id", Some(raw))?))
            .transpose()?;
        let is_foreign = |guest: &GuestId| setting.scope.guest().is_some_and(|own| own != guest);
        if guest.as_ref().is_some_and(is_foreign) {
            let rule =
                "is another guest than that of `scope`, and would be given an answer of that one";
            return Err(InvalidField::new("guest_id", rule));
        }
        Ok(PromptLookup {
            setting,
            prompt: content("prompt", self.prompt, content_limit)?,
            guest,
            semantic: flag("semantic", self.semantic)?,
        })
    }

    fn setting(&self) -> Result<PromptSetting, InvalidField> {
        Ok(PromptSetting {
            scope: PromptScope::parse(&text("scope", self.scope)?)?,
            model: PromptSetting::model(&text("model", self.model)?)?,
            temperature: number("temperature", self.temperature)?
                .map(PromptSetting::temperature)
                .transpose()?,
            max_tokens: whole("max_tokens", self.max_tokens)?,
            context_hash: self.context_hash()?,
        })
    }

    /// The hash in the request, else that of its context, else that of an empty one.
    fn context_hash(&self) -> Result<Digest, InvalidField> {
        match (present(self.context), present(self.context_hash)) {
            (Some(_), Some(_)) => {
                let rule = "is given beside `context`; send one of them";
                Err(InvalidField::new("context_hash", rule))
            }
            (None, Some(raw)) => {
                let rule = "must be a SHA-256: 64 hex digits in lower case";
                let read = Digest::from_hex(&text("context_hash", Some(raw))?);
                read.ok_or_else(|| InvalidField::new("context_hash", rule))
            }
            (Some(raw), None) => Ok(content_hash(&text("context", Some(raw))?)),
            (None, None) => Ok(content_hash("")),
        }
    }
}

impl PutRequest<'_> {
    /// The checked entry for a prompt.
    pub(crate) fn keep(
        &self,
        asked: PromptLookup,
        content_limit: usize,
    ) -> Result<PromptPut, InvalidField> {
        let response = content("response", self.response, content_limit)?;
        let generation_ms = number("generation_time", self.generation_time)?.unwrap_or(0.0);
        if !(0.0..=86_400_000.0).contains(&generation_ms) {
            let rule = "must be milliseconds, from 0 to 86400000";
            return Err(InvalidField::new("generation_time", rule));
        }
        let counted = |field, raw, text: &Content| {
            let given = whole(field, raw)?;
            Ok::<_, InvalidField>(given.map_or_else(|| tokens(text.as_str()), u64::from))
        };
        let ttl = whole("ttl", self.ttl)?;
        if ttl == Some(0) {
            return Err(InvalidField::new("ttl", "must be at least 1 second"));
        }
        Ok(PromptPut {
            input_tokens: counted("input_tokens", self.input_tokens, &asked.prompt)?,
            output_tokens: counted("output_tokens", self.output_tokens, &response)?,
            setting: asked.setting,
            prompt: asked.prompt,
            response,
            generation_ms,
            ttl: ttl.map(|seconds| Duration::from_secs(seconds.into())),
            semantic: asked.semantic,
        })
    }
}

fn content(field: &str, raw: Option<&RawValue>, limit: usize) -> Result<Content, InvalidField> {
    let parsed = Content::parse(&text(field, raw)?, limit);
    parsed.map_err(|fault| InvalidField::new(field, fault.rule))
}

fn flag(field: &str, raw: Option<&RawValue>) -> Result<bool, InvalidField> {
    match present(raw).map(RawValue::get) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(InvalidField::new(field, "must be true or false")),
    }
}

fn number(field: &str, raw: Option<&RawValue>) -> Result<Option<f64>, InvalidField> {
    let parsed = present(raw).map(|raw| serde_json::from_str(raw.get()));
    let parsed = parsed.transpose();
    parsed.map_err(|_| InvalidField::new(field, "must be a number"))
}

/// A count.
fn whole(field: &str, raw: Option<&RawValue>) -> Result<Option<u32>, InvalidField> {
    let parsed = present(raw).map(|raw| serde_json::from_str::<u32>(raw.get()));
    let parsed = parsed.transpose();
    let rule = "must be a whole number from 0 to 4294967295";
    parsed.map_err(|_| InvalidField::new(field, rule))
}

/// The response to a lookup.
#[derive(Serialize)]
pub(crate) struct LookupResponse<'a> {
    #[serde(rename = "match")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(flatten)]
    found: Option<LookupHit<'a>>,
}

#[derive(Serialize)]
struct LookupHit<'a> {
    id: Uuid,
    prompt: &'a str,
    response: &'a str,
    generation_time: f64,
    input_tokens: u64,
    output_tokens: u64,
    hits: u64,
    created_at: String,
    expires_at: String,
}

impl<'a> LookupResponse<'a> {
    pub(crate) fn new(found: Option<&'a PromptHit>) -> Self {
        let score = found.and_then(|found| found.score);
        let kind = match (found, score) {
            (None, _) => "none",
            (Some(_), None) => "exact",
            (Some(_), Some(_)) => "semantic",
        };
        let found = found.map(|PromptHit { answer, .. }| LookupHit {
            id: answer.id,
            prompt: answer.prompt.as_str(),
            response: answer.response.as_str(),
            generation_time: answer.generation_ms,
            input_tokens: answer.input_tokens,
            output_tokens: answer.output_tokens,
            hits: answer.hits,
            created_at: answer.created_at.to_string(),
            expires_at: answer.expires_at.to_string(),
        });
        Self { kind, score, found }
    }
}

/// The response to a stored entry.
#[derive(Serialize)]
pub(crate) struct PutResponse {
    status: &'static str,
    id: Uuid,
    scope: String,
    context_hash: String,
    semantic: bool,
    expires_at: String,
}

impl From<&NewCacheEntry> for PutResponse {
    fn from(kept: &NewCacheEntry) -> Self {
        let setting = &kept.key.setting;
        Self {
            status: "kept",
            id: kept.key.id(),
            scope: setting.scope.to_string(),
            context_hash: setting.context_hash.to_hex(),
            semantic: kept.vector.is_some(),
            expires_at: kept.expires_at.to_string(),
        }
    }
}

/// The response to a removal.
#[derive(Serialize)]
pub(crate) struct DeletePromptsResponse {
    pub(crate) status: &'static str,
    pub(crate) scope: String,
    pub(crate) deleted: u64,
}

/// Size and hit counters of the cache, as in `GET /v1/cache`.
#[derive(Debug, Deserialize, Serialize)]
pub struct StatsResponse {
    /// Live entries.
    pub entries: u64,
    /// Entries that wait to be removed.
    pub expired: u64,
    /// Scopes with an entry.
    pub scopes: u64,
    /// Entries that similar prompts may hit.
    pub semantic: u64,
    /// Bytes of texts and vectors.
    pub bytes: u64,
    /// Lookups that were answered.
    pub cache_hits: u64,
    /// Lookups that were not.
    pub cache_misses: u64,
    /// The share of those that were.
    pub hit_rate: f64,
    /// Tokens that no model had to read or write.
    pub tokens_saved: u64,
    /// Milliseconds that nobody had to wait.
    pub generation_time_saved: f64,
}

impl From<PromptStats> for StatsResponse {
    fn from(stats: PromptStats) -> Self {
        Self {
            entries: stats.entries,
            expired: stats.expired,
            scopes: stats.scopes,
            semantic: stats.with_vector,
            bytes: stats.bytes,
            cache_hits: stats.hits,
            cache_misses: stats.misses,
            hit_rate: stats.hit_rate(),
            tokens_saved: stats.tokens_saved,
            generation_time_saved: stats.saved_ms,
        }
    }
}
