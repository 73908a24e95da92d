//! The prompt cache's table. It is only a cache, so its commits do not wait for the disk, except the erasure of a guest's
//! entries with the guest.

use super::columns::MetricsColumns;
use super::error::{Attempt, PostgresFault};
use super::rows::{count, get, id, int, limit as rows_limit, moment, text, time};
use super::session::{BeginMode, statement};
use super::{PostgresDatabase, first_count, sql};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use guestbook_core::error::Result;
use guestbook_core::{
    Content, ModelId, PromptKey, PromptScope, PromptSetting, Timestamp, Vector, content_hash,
};
use guestbook_storage::database::{
    CacheEntry, CounterDeltas, LookupTotals, NearPrompt, NewCacheEntry, PromptStats, Prompts,
};
use std::collections::{BTreeMap, HashMap};
use tokio_postgres::Row;
use uuid::Uuid;

/// A guest's own scope.
pub(super) fn scope_of(guest: &str) -> String {
    format!("guest:{guest}")
}

#[async_trait]
impl Prompts for PostgresDatabase {
    async fn prompts_find(
        &self,
        keys: &[PromptKey],
        now: Timestamp,
    ) -> Result<Vec<Option<CacheEntry>>> {
        let ids: Vec<_> = keys.iter().map(PromptKey::id).collect();
        let texts: Vec<_> = ids.iter().map(Uuid::to_string).collect();
        let scopes: Vec<_> = keys
            .iter()
            .map(|key| key.setting.scope.to_string())
            .collect();
        let contexts: Vec<_> = keys
            .iter()
            .map(|key| key.setting.context_hash.to_hex())
            .collect();
        let hashes: Vec<_> = keys.iter().map(|key| key.prompt_hash.to_hex()).collect();
        let now = moment(now);
        let statements = [
            statement!(sql::PROMPTS_FIND; texts => TEXT_ARRAY, scopes => TEXT_ARRAY,
            contexts => TEXT_ARRAY, hashes => TEXT_ARRAY, now => TIMESTAMPTZ),
        ];
        let rows = self.read("prompts_find", &statements).await?;
        let found: Attempt<HashMap<_, _>> = rows[0]
            .iter()
            .map(|row| kept(row).map(|entry| (entry.id, entry)))
            .collect();
        let found = found.map_err(|fault| fault.into_error("prompts_find"))?;
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn prompts_near(
        &self,
        setting: &PromptSetting,
        model: &ModelId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<NearPrompt>> {
        let (scope, context) = (setting.scope.to_string(), setting.context_hash.to_hex());
        let max_tokens = setting.max_tokens.map(i64::from);
        let (model, now, limit) = (model.as_str(), moment(now), rows_limit(limit));
        let statements = [
            statement!(sql::PROMPTS_NEAR; scope => TEXT, context => TEXT, setting.model => TEXT,
            setting.temperature => FLOAT8, max_tokens => INT8, model => TEXT, now => TIMESTAMPTZ, limit => INT8),
        ];
        let rows = self.read("prompts_near", &statements).await?;
        let near: Attempt<_> = rows[0].iter().map(near).collect();
        near.map_err(|fault| fault.into_error("prompts_near"))
    }

    async fn prompts_put(&self, entries: Vec<NewCacheEntry>, at: Timestamp) -> Result<()> {
        let (new, at) = (NewPromptColumns::of(&entries), moment(at));
        let put = [
            statement!(sql::LIGHTLY),
            statement!(sql::PROMPTS_PUT; new.ids => TEXT_ARRAY, new.scopes => TEXT_ARRAY, new.contexts => TEXT_ARRAY,
                new.models => TEXT_ARRAY, new.temperatures => FLOAT8_ARRAY, new.max_tokens => INT8_ARRAY,
                new.prompt_hashes => TEXT_ARRAY, new.response_hashes => TEXT_ARRAY, new.generation => FLOAT8_ARRAY,
                new.input => INT8_ARRAY, new.output => INT8_ARRAY, new.expires_at => TIMESTAMPTZ_ARRAY,
                new.sizes => INT8_ARRAY, new.vectors => BYTEA_ARRAY, new.vector_models => TEXT_ARRAY,
                new.prompts => TEXT_ARRAY, new.responses => TEXT_ARRAY, at => TIMESTAMPTZ),
        ];
        self.write("prompts_put", &put).await.map(drop)
    }

    async fn prompts_remove(&self, scope: Option<&PromptScope>, limit: usize) -> Result<usize> {
        let (scope, limit) = (scope.map(PromptScope::to_string), rows_limit(limit));
        let remove = match &scope {
            Some(scope) => statement!(sql::PROMPTS_REMOVE_SCOPE; limit => INT8, *scope => TEXT),
            None => statement!(sql::PROMPTS_REMOVE; limit => INT8),
        };
        let rows = self.write("prompts_remove", &[remove]).await?;
        removed(&rows[0], "prompts_remove")
    }

    async fn prompts_expire(&self, now: Timestamp, limit: usize) -> Result<usize> {
        let (now, limit) = (moment(now), rows_limit(limit));
        let due = [statement!(sql::PROMPTS_EXPIRED; now => TIMESTAMPTZ)];
        if self.read("prompts_expire", &due).await?[0].is_empty() {
            return Ok(0); // nothing to do is the common case, and must lock nothing
        }
        let expire = [
            statement!(sql::LIGHTLY),
            statement!(sql::PROMPTS_EXPIRE; now => TIMESTAMPTZ, limit => INT8),
        ];
        let rows = self.write("prompts_expire", &expire).await?;
        removed(&rows[1], "prompts_expire")
    }

    async fn prompts_evict(&self, bytes: u64, limit: usize) -> Result<usize> {
        let (bytes, limit) = (int(bytes), rows_limit(limit));
        let statements = [statement!(sql::PROMPTS_BEYOND; bytes => INT8, limit => INT8)];
        let rows = self
            .read_as("prompts_evict", BeginMode::LongRead, &statements)
            .await?;
        let ids: Attempt<Vec<&str>> = rows[0].iter().map(|row| text(row, 0)).collect();
        let ids = ids.map_err(|fault| fault.into_error("prompts_evict"))?;
        if ids.is_empty() {
            return Ok(0);
        }
        let delete = [
            statement!(sql::LIGHTLY),
            statement!(sql::PROMPTS_DELETE; ids => TEXT_ARRAY),
        ];
        let rows = self.write("prompts_evict", &delete).await?;
        removed(&rows[1], "prompts_evict")
    }

    async fn lookup_totals(&self, deltas: LookupTotals, at: Timestamp) -> Result<()> {
        let (given, owners) = (HitColumns::of(&deltas), LookupColumns::of(&deltas));
        let reads = CounterDeltas {
            hits: deltas.hits,
            misses: deltas.misses,
            ..CounterDeltas::default()
        };
        let metrics = MetricsColumns::of(self, at, 0, &reads);
        let (hour, part) = (moment(at.hour()), metrics.part());
        let (hits, misses, saved) = (
            int(deltas.hits),
            int(deltas.misses),
            int(deltas.tokens_saved),
        );
        // In the lock order of an erasure: usage, entries, the hour.
        let counted = [
            statement!(sql::LIGHTLY),
            statement!(sql::USAGE_LOCK; owners.owners => TEXT_ARRAY),
            statement!(sql::USAGE_LOOKUPS; owners.owners => TEXT_ARRAY, owners.hits => INT8_ARRAY,
                owners.misses => INT8_ARRAY, owners.saved => INT8_ARRAY),
            statement!(sql::PROMPTS_LOCK; given.ids => TEXT_ARRAY),
            statement!(sql::PROMPTS_GIVEN; given.ids => TEXT_ARRAY, given.hits => INT8_ARRAY,
                given.last => TIMESTAMPTZ_ARRAY),
            metrics.statement(),
            statement!(sql::METRICS_LOOKUPS; hour => TIMESTAMPTZ, part => INT4, hits => INT8, misses => INT8,
                saved => INT8, deltas.saved_ms => FLOAT8),
        ];
        self.write("prompts_tally", &counted).await.map(drop)
    }

    async fn prompts_stats(&self, now: Timestamp) -> Result<PromptStats> {
        let now = moment(now);
        let statements = [
            statement!(sql::PROMPT_STATS; now => TIMESTAMPTZ),
            statement!(sql::LOOKUP_STATS),
        ];
        let rows = self
            .read_as("prompts_stats", BeginMode::LongRead, &statements)
            .await?;
        let stats = match (rows[0].first(), rows[1].first()) {
            (Some(totals), Some(lookups)) => stats(totals, lookups),
            _ => Err(PostgresFault::Row("no statistics".into())),
        };
        stats.map_err(|fault| fault.into_error("prompts_stats"))
    }
}

fn stats(totals: &Row, lookups: &Row) -> Attempt<PromptStats> {
    let expired = count(totals, 1)?;
    Ok(PromptStats {
        entries: count(totals, 0)?.saturating_sub(expired),
        expired,
        scopes: count(totals, 2)?,
        with_vector: count(totals, 3)?,
        bytes: count(totals, 4)?,
        hits: count(lookups, 0)?,
        misses: count(lookups, 1)?,
        tokens_saved: count(lookups, 2)?,
        saved_ms: get(lookups, 3)?,
    })
}

fn removed(rows: &[Row], operation: &'static str) -> Result<usize> {
    let removed = first_count(rows).map_err(|fault| fault.into_error(operation))?;
    Ok(usize::try_from(removed).unwrap_or(usize::MAX))
}

fn kept(row: &Row) -> Attempt<CacheEntry> {
    Ok(CacheEntry {
        id: id(row, 0)?,
        prompt: Content::from_stored(text(row, 1)?),
        response: Content::from_stored(text(row, 2)?),
        generation_ms: get(row, 3)?,
        input_tokens: count(row, 4)?,
        output_tokens: count(row, 5)?,
        hits: count(row, 6)?,
        created_at: time(row, 7)?,
        expires_at: time(row, 8)?,
    })
}

fn near(row: &Row) -> Attempt<NearPrompt> {
    let vector = Vector::from_bytes(get(row, 1)?);
    Ok(NearPrompt {
        prompt: Content::from_stored(text(row, 0)?),
        vector: vector
            .map_err(|bad| PostgresFault::Row(format!("the vector of a prompt: {bad}")))?,
    })
}

/// Entries to store, as columns.
#[derive(Debug, Default)]
struct NewPromptColumns<'a> {
    ids: Vec<String>,
    scopes: Vec<String>,
    contexts: Vec<String>,
    models: Vec<&'a str>,
    temperatures: Vec<Option<f64>>,
    max_tokens: Vec<Option<i64>>,
    prompt_hashes: Vec<String>,
    response_hashes: Vec<String>,
    generation: Vec<f64>,
    input: Vec<i64>,
    output: Vec<i64>,
    expires_at: Vec<DateTime<Utc>>,
    sizes: Vec<i64>,
    vectors: Vec<Option<Vec<u8>>>,
    vector_models: Vec<Option<&'a str>>,
    prompts: Vec<&'a str>,
    responses: Vec<&'a str>,
}

impl<'a> NewPromptColumns<'a> {
    /// One row per key: a statement changes no row twice.
    fn of(entries: &'a [NewCacheEntry]) -> Self {
        let latest: BTreeMap<_, _> = entries.iter().map(|one| (one.key.id(), one)).collect();
        let mut rows = Self::default();
        for (id, entry) in latest {
            rows.add(id, entry);
        }
        rows
    }

    fn add(&mut self, id: Uuid, entry: &'a NewCacheEntry) {
        let (setting, vector) = (&entry.key.setting, entry.vector.as_ref());
        self.ids.push(id.to_string());
        self.scopes.push(setting.scope.to_string());
        self.contexts.push(setting.context_hash.to_hex());
        self.models.push(&setting.model);
        self.temperatures.push(setting.temperature);
        self.max_tokens.push(setting.max_tokens.map(i64::from));
        self.prompt_hashes.push(entry.key.prompt_hash.to_hex());
        self.response_hashes
            .push(content_hash(entry.response.as_str()).to_hex());
        self.generation.push(entry.generation_ms);
        self.input.push(int(entry.input_tokens));
        self.output.push(int(entry.output_tokens));
        self.expires_at.push(moment(entry.expires_at));
        self.sizes.push(int(entry.bytes()));
        self.vectors
            .push(vector.map(|(_, vector)| vector.to_bytes()));
        self.vector_models
            .push(vector.map(|(model, _)| model.as_str()));
        self.prompts.push(entry.prompt.as_str());
        self.responses.push(entry.response.as_str());
    }
}

/// Entries hit, as columns.
struct HitColumns {
    ids: Vec<String>,
    hits: Vec<i64>,
    last: Vec<DateTime<Utc>>,
}

impl HitColumns {
    fn of(deltas: &LookupTotals) -> Self {
        let given = || deltas.given.iter();
        Self {
            ids: given().map(|one| one.id.to_string()).collect(),
            hits: given().map(|one| int(one.hits)).collect(),
            last: given().map(|one| moment(one.last)).collect(),
        }
    }
}

/// Lookups of owners, as columns.
struct LookupColumns<'a> {
    owners: Vec<&'a str>,
    hits: Vec<i64>,
    misses: Vec<i64>,
    saved: Vec<i64>,
}

impl<'a> LookupColumns<'a> {
    fn of(deltas: &'a LookupTotals) -> Self {
        let owners = || deltas.owners.iter();
        Self {
            owners: owners().map(|one| one.owner.as_str()).collect(),
            hits: owners().map(|one| int(one.counts.hits)).collect(),
            misses: owners().map(|one| int(one.counts.misses)).collect(),
            saved: owners().map(|one| int(one.counts.tokens_saved)).collect(),
        }
    }
}
