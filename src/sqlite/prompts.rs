//! The prompt cache's table. It is only a cache, so its commits do not wait for the disk, except the erasure of a guest's
//! entries with the guest.

use super::lookups::{LookupKey, LookupResults, OPERATION};
use super::rows::{Id, Time};
use super::{SqliteDatabase, outbox, sql};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{
    Content, ModelId, PromptKey, PromptScope, PromptSetting, Timestamp, Vector, content_hash,
};
use guestbook_storage::database::{
    CacheEntry, CounterDeltas, LookupTotals, NearPrompt, NewCacheEntry, PromptStats, Prompts,
};
use rusqlite::types::Type;
use rusqlite::{Row, Transaction, params};

#[async_trait]
impl Prompts for SqliteDatabase {
    async fn prompts_find(
        &self,
        keys: &[PromptKey],
        now: Timestamp,
    ) -> Result<Vec<Option<CacheEntry>>> {
        let (mut found, mut places, mut cold) = (Vec::with_capacity(keys.len()), vec![], vec![]);
        for (at, key) in keys.iter().enumerate() {
            let id = key.id();
            found.push(self.prompt_cache.find(key, id, now));
            if found[at].is_none() {
                places.push(at);
                cold.push((id, key.clone()));
            }
        }
        if cold.is_empty() {
            return Ok(found);
        }
        for (at, entry) in places.into_iter().zip(self.look_up(cold, now).await?) {
            found[at] = entry;
        }
        Ok(found)
    }

    async fn prompts_near(
        &self,
        setting: &PromptSetting,
        model: &ModelId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<NearPrompt>> {
        let (setting, model) = (setting.clone(), model.clone());
        self.read("prompts_near", move |tx| {
            let row = params![
                setting.scope.to_string(),
                setting.context_hash.to_hex(),
                setting.model,
                setting.temperature,
                setting.max_tokens,
                model.as_str(),
                Time(now),
                limit
            ];
            let mut select = tx.prepare_cached(sql::PROMPTS_NEAR)?;
            let found = select.query_map(row, near)?;
            found.collect()
        })
        .await
    }

    async fn prompts_put(&self, entries: Vec<NewCacheEntry>, at: Timestamp) -> Result<()> {
        self.write_lightly("prompts_put", move |tx| {
            let mut put = tx.prepare_cached(sql::PROMPT_PUT)?;
            entries.iter().try_for_each(|entry| {
                let (key, setting) = (&entry.key, &entry.key.setting);
                let vector = entry.vector.as_ref();
                put.execute(params![
                    Id(key.id()),
                    setting.scope.to_string(),
                    setting.context_hash.to_hex(),
                    setting.model,
                    setting.temperature,
                    setting.max_tokens,
                    key.prompt_hash.to_hex(),
                    content_hash(entry.response.as_str()).to_hex(),
                    entry.generation_ms,
                    entry.input_tokens,
                    entry.output_tokens,
                    Time(at),
                    Time(entry.expires_at),
                    entry.bytes(),
                    vector.map(|(_, vector)| vector.to_bytes()),
                    vector.map(|(model, _)| model.as_str()),
                    entry.prompt.as_str(),
                    entry.response.as_str()
                ])
                .map(drop)
            })
        })
        .await
    }

    async fn prompts_remove(&self, scope: Option<&PromptScope>, limit: usize) -> Result<usize> {
        let scope = scope.map(PromptScope::to_string);
        // Removed on purpose: a power cut must not restore it.
        self.write("prompts_remove", move |tx, _| match scope {
            Some(scope) => tx
                .prepare_cached(sql::PROMPTS_REMOVE_SCOPE)?
                .execute(params![limit, scope]),
            None => tx.prepare_cached(sql::PROMPTS_REMOVE)?.execute([limit]),
        })
        .await
    }

    async fn prompts_expire(&self, now: Timestamp, limit: usize) -> Result<usize> {
        let due = self.read("prompts_expire", move |tx| {
            let mut select = tx.prepare_cached(sql::PROMPTS_EXPIRED)?;
            let ids = select.query_map(params![Time(now), limit], |row| row.get::<_, Id>(0))?;
            ids.collect::<rusqlite::Result<Vec<_>>>()
        });
        self.prompts_delete("prompts_expire", due.await?).await
    }

    async fn prompts_evict(&self, bytes: u64, limit: usize) -> Result<usize> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let beyond = self.read("prompts_evict", move |tx| {
            let mut select = tx.prepare_cached(sql::PROMPTS_BEYOND)?;
            let ids = select.query_map(params![bytes, limit], |row| row.get::<_, Id>(0))?;
            ids.collect::<rusqlite::Result<Vec<_>>>()
        });
        self.prompts_delete("prompts_evict", beyond.await?).await
    }

    async fn lookup_totals(&self, deltas: LookupTotals, at: Timestamp) -> Result<()> {
        self.write_lightly("prompts_tally", move |tx| count(tx, &deltas, at))
            .await
    }

    async fn prompts_stats(&self, now: Timestamp) -> Result<PromptStats> {
        self.read("prompts_stats", move |tx| {
            let lookups = tx.query_row(sql::LOOKUP_STATS, [], |row| {
                Ok(PromptStats {
                    hits: row.get(0)?,
                    misses: row.get(1)?,
                    tokens_saved: row.get(2)?,
                    saved_ms: row.get(3)?,
                    ..PromptStats::default()
                })
            })?;
            tx.query_row(sql::PROMPT_STATS, [Time(now)], |row| {
                let expired = row.get(1)?;
                Ok(PromptStats {
                    entries: row.get::<_, u64>(0)? - expired,
                    expired,
                    scopes: row.get(2)?,
                    with_vector: row.get(3)?,
                    bytes: row.get(4)?,
                    ..lookups
                })
            })
        })
        .await
    }
}

impl SqliteDatabase {
    /// The entries at these keys, read together with concurrent lookups.
    async fn look_up(&self, keys: Vec<LookupKey>, now: Timestamp) -> LookupResults {
        let place = self.readers.short.reserve(OPERATION).await?;
        let (results, job) = self.lookups.wait(keys, now); // must be followed by queueing the job
        let cache = self.prompt_cache.clone();
        place.run(move |connection| job.run(connection, &cache));
        self.readers.short.answered(OPERATION, results).await
    }

    async fn prompts_delete(&self, operation: &'static str, ids: Vec<Id>) -> Result<usize> {
        if ids.is_empty() {
            return Ok(0); // nothing to do is the common case, and must not cost a commit
        }
        self.write_lightly(operation, move |tx| {
            let mut delete = tx.prepare_cached(sql::PROMPT_DELETE)?;
            ids.iter().map(|id| delete.execute([id])).sum()
        })
        .await
    }
}

/// Removes the cache entries of a guest's own scope.
pub(super) fn erase(tx: &Transaction<'_>, guest: &str) -> rusqlite::Result<u64> {
    let scope = format!("guest:{guest}");
    Ok(tx.prepare_cached(sql::PROMPTS_ERASE)?.execute([scope])? as u64)
}

fn count(tx: &Transaction<'_>, deltas: &LookupTotals, at: Timestamp) -> rusqlite::Result<()> {
    let mut given = tx.prepare_cached(sql::PROMPT_GIVEN)?;
    let mut used = tx.prepare_cached(sql::PROMPT_USED)?;
    for hit in &deltas.given {
        given.execute(params![Id(hit.id), hit.hits])?;
        used.execute(params![Id(hit.id), Time(hit.last)])?;
    }
    let mut lookups = tx.prepare_cached(sql::USAGE_LOOKUPS)?;
    for one in &deltas.owners {
        let counts = &one.counts;
        lookups.execute(params![
            one.owner.as_str(),
            counts.hits,
            counts.misses,
            counts.tokens_saved
        ])?;
    }
    let reads = CounterDeltas {
        hits: deltas.hits,
        misses: deltas.misses,
        ..CounterDeltas::default()
    };
    outbox::count(tx, at, 0, 0, &reads)?;
    let row = params![
        Time(at.hour()),
        deltas.hits,
        deltas.misses,
        deltas.tokens_saved,
        deltas.saved_ms
    ];
    tx.prepare_cached(sql::METRICS_LOOKUPS)?.execute(row)?;
    Ok(())
}

fn near(row: &Row<'_>) -> rusqlite::Result<NearPrompt> {
    let vector = Vector::from_bytes(row.get_ref(1)?.as_blob()?);
    Ok(NearPrompt {
        prompt: Content::from_stored(row.get_ref(0)?.as_str()?),
        vector: vector
            .map_err(|bad| rusqlite::Error::FromSqlConversionFailure(1, Type::Blob, bad.into()))?,
    })
}
