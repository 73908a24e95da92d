//! `prompt_cache`: one row per key.

use super::database::MemoryDatabase;
use super::tables::MemoryTables;
use crate::database::{
    CacheEntry, CounterDeltas, LookupTotals, NearPrompt, NewCacheEntry, PromptStats, Prompts,
};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{GuestId, ModelId, PromptKey, PromptScope, PromptSetting, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The rows, and the lookup counters.
#[derive(Default)]
pub(super) struct MemoryPrompts {
    rows: BTreeMap<Uuid, MemoryPrompt>,
    /// All lookups so far: the sums over the hours.
    lookups: LookupTotals,
}

struct MemoryPrompt {
    entry: NewCacheEntry,
    hits: u64,
    created_at: Timestamp,
    last_accessed: Timestamp,
}

impl MemoryPrompt {
    fn is_good(&self, now: Timestamp) -> bool {
        self.entry.expires_at > now
    }

    fn kept(&self) -> CacheEntry {
        let entry = &self.entry;
        CacheEntry {
            id: entry.key.id(),
            prompt: entry.prompt.clone(),
            response: entry.response.clone(),
            generation_ms: entry.generation_ms,
            input_tokens: entry.input_tokens,
            output_tokens: entry.output_tokens,
            hits: self.hits,
            created_at: self.created_at,
            expires_at: entry.expires_at,
        }
    }
}

#[async_trait]
impl Prompts for MemoryDatabase {
    async fn prompts_find(
        &self,
        keys: &[PromptKey],
        now: Timestamp,
    ) -> Result<Vec<Option<CacheEntry>>> {
        self.run("prompts_find", |tables| {
            let find = |key: &PromptKey| {
                let row = tables.prompts.rows.get(&key.id());
                let row = row.filter(|row| row.entry.key == *key && row.is_good(now));
                row.map(MemoryPrompt::kept)
            };
            keys.iter().map(find).collect()
        })
    }

    async fn prompts_near(
        &self,
        setting: &PromptSetting,
        model: &ModelId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<NearPrompt>> {
        self.run("prompts_near", |tables| {
            let rows = tables.prompts.rows.values();
            let mut rows: Vec<_> = rows
                .filter(|row| row.is_good(now) && row.entry.key.setting == *setting)
                .collect();
            rows.sort_by_key(|row| std::cmp::Reverse(row.last_accessed));
            let near = |row: &MemoryPrompt| {
                let (of, vector) = row.entry.vector.as_ref()?;
                (of == model).then(|| NearPrompt {
                    prompt: row.entry.prompt.clone(),
                    vector: vector.clone(),
                })
            };
            rows.into_iter().filter_map(near).take(limit).collect()
        })
    }

    async fn prompts_put(&self, entries: Vec<NewCacheEntry>, at: Timestamp) -> Result<()> {
        self.run("prompts_put", |tables| {
            for entry in entries {
                let id = entry.key.id();
                let hits = tables.prompts.rows.get(&id).map_or(0, |row| row.hits);
                let row = MemoryPrompt {
                    entry,
                    hits,
                    created_at: at,
                    last_accessed: at,
                };
                tables.prompts.rows.insert(id, row);
            }
        })
    }

    async fn prompts_remove(&self, scope: Option<&PromptScope>, limit: usize) -> Result<usize> {
        self.run("prompts_remove", |tables| {
            let is_match = |row: &MemoryPrompt| {
                scope.is_none_or(|scope| row.entry.key.setting.scope == *scope)
            };
            tables.prompts.remove(is_match, limit)
        })
    }

    async fn prompts_expire(&self, now: Timestamp, limit: usize) -> Result<usize> {
        self.run("prompts_expire", |tables| {
            tables.prompts.remove(|row| !row.is_good(now), limit)
        })
    }

    async fn prompts_evict(&self, bytes: u64, limit: usize) -> Result<usize> {
        self.run("prompts_evict", |tables| {
            let beyond = tables.prompts.beyond(bytes);
            let beyond: BTreeSet<_> = beyond.into_iter().take(limit).collect();
            tables
                .prompts
                .remove(|row| beyond.contains(&row.entry.key.id()), limit)
        })
    }

    async fn lookup_totals(&self, deltas: LookupTotals, at: Timestamp) -> Result<()> {
        self.run("prompts_tally", |tables| tables.count_lookups(deltas, at))
    }

    async fn prompts_stats(&self, now: Timestamp) -> Result<PromptStats> {
        self.run("prompts_stats", |tables| {
            let (rows, lookups) = (&tables.prompts.rows, &tables.prompts.lookups);
            let good = rows.values().filter(|row| row.is_good(now)).count() as u64;
            let scopes: BTreeSet<_> = rows
                .values()
                .map(|row| &row.entry.key.setting.scope)
                .collect();
            let with_vector = rows.values().filter(|row| row.entry.vector.is_some());
            PromptStats {
                entries: good,
                expired: rows.len() as u64 - good,
                scopes: scopes.len() as u64,
                with_vector: with_vector.count() as u64,
                bytes: rows.values().map(|row| row.entry.bytes()).sum(),
                hits: lookups.hits,
                misses: lookups.misses,
                tokens_saved: lookups.tokens_saved,
                saved_ms: lookups.saved_ms,
            }
        })
    }
}

impl MemoryPrompts {
    fn remove(&mut self, is_match: impl Fn(&MemoryPrompt) -> bool, limit: usize) -> usize {
        let matching = self.rows.iter().filter(|(_, row)| is_match(row));
        let matching: Vec<_> = matching.map(|(id, _)| *id).take(limit).collect();
        for id in &matching {
            self.rows.remove(id);
        }
        matching.len()
    }

    /// The least recently used entries beyond `bytes`, the longest unused first.
    fn beyond(&self, bytes: u64) -> Vec<Uuid> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(id, row)| std::cmp::Reverse((row.last_accessed, **id)));
        let mut total = 0;
        let mut beyond: Vec<_> = rows
            .into_iter()
            .filter(|(_, row)| {
                total += row.entry.bytes();
                total > bytes
            })
            .map(|(id, _)| *id)
            .collect();
        beyond.reverse();
        beyond
    }
}

impl MemoryTables {
    /// Removes the cache entries of a guest's own scope.
    pub(super) fn erase_prompts(&mut self, guest: &GuestId) -> u64 {
        let scope = PromptScope::from(guest);
        let is_match = |row: &MemoryPrompt| row.entry.key.setting.scope == scope;
        self.prompts.remove(is_match, usize::MAX) as u64
    }

    fn count_lookups(&mut self, deltas: LookupTotals, at: Timestamp) {
        for given in &deltas.given {
            if let Some(row) = self.prompts.rows.get_mut(&given.id) {
                row.hits += given.hits;
                row.last_accessed = row.last_accessed.max(given.last);
            }
        }
        for lookups in &deltas.owners {
            if let Some(row) = self.usage.get_mut(&lookups.owner) {
                let counts = &lookups.counts;
                row.total_requests += counts.hits + counts.misses;
                row.cache_hits += counts.hits;
                row.cache_misses += counts.misses;
                row.lookup_misses += counts.misses;
                row.tokens_saved += counts.tokens_saved;
            }
        }
        let reads = CounterDeltas {
            hits: deltas.hits,
            misses: deltas.misses,
            ..CounterDeltas::default()
        };
        let entries = self.messages.len() as u64;
        self.hours.advance(at, 0, &reads, entries);
        let sum = &mut self.prompts.lookups;
        sum.hits += deltas.hits;
        sum.misses += deltas.misses;
        sum.tokens_saved += deltas.tokens_saved;
        sum.saved_ms += deltas.saved_ms;
    }
}
