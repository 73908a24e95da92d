//! Read cache of prompt cache entries: the same few are looked up repeatedly, and a read costs two thread wake-ups.
//!
//! **Invariant:** a hit equals the table as of the last acknowledged commit. Entries are never trusted: each hit is compared
//! with the version of its row (`cache_version.rs`).

use super::cache_version::{CacheVersions, ReadVersion};
use guestbook_core::{PromptKey, Timestamp};
use guestbook_storage::database::{CacheEntry, CacheVersion};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use std::hash::RandomState;
use std::sync::Arc;
use uuid::Uuid;

/// Capacity in bytes.
const CAPACITY: u64 = 32 << 20;
/// Estimated number of entries.
const ENTRIES: usize = 1 << 12;
/// Estimated bytes per entry besides its texts.
const OVERHEAD: usize = 384;

/// All clones are one.
#[derive(Clone, Debug)]
pub(super) struct PromptReadCache {
    entries: Arc<Cache<Uuid, Arc<Entry>, Bytes, RandomState>>,
    /// The versions of the table's rows.
    pub(super) versions: CacheVersions,
}

/// An entry with its key and version.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) version: CacheVersion,
    pub(super) key: PromptKey,
    pub(super) cached: CacheEntry,
}

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<Uuid, Arc<Entry>> for Bytes {
    fn weight(&self, _: &Uuid, entry: &Arc<Entry>) -> u64 {
        let cached = &entry.cached;
        (cached.prompt.as_str().len() + cached.response.as_str().len() + OVERHEAD) as u64
    }
}

impl Default for PromptReadCache {
    fn default() -> Self {
        let hasher = RandomState::new();
        let entries = Cache::with(
            ENTRIES,
            CAPACITY,
            Bytes,
            hasher,
            DefaultLifecycle::default(),
        );
        Self {
            entries: Arc::new(entries),
            versions: CacheVersions::default(),
        }
    }
}

impl PromptReadCache {
    /// The cached entry at a key, if it is live at `now` and current.
    pub(super) fn find(&self, key: &PromptKey, id: Uuid, now: Timestamp) -> Option<CacheEntry> {
        let entry = self.entries.get(&id)?;
        if !self.versions.is_fresh(&entry.version) {
            self.entries
                .remove_if(&id, |cached| Arc::ptr_eq(cached, &entry));
            return None;
        }
        let cached = &entry.cached;
        (entry.key == *key && cached.expires_at > now).then(|| cached.clone())
    }

    /// Taken before a read of the table.
    pub(super) fn at_read(&self) -> ReadVersion {
        self.versions.at_read()
    }

    /// Caches an entry read from the table.
    pub(super) fn insert(&self, entry: Entry) {
        self.entries.insert(entry.cached.id, Arc::new(entry));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
pub(super) mod tests {
    use super::*;
    use guestbook_core::{Content, PromptScope, PromptSetting, content_hash};

    /// The key of a prompt with fixed other parts.
    pub(crate) fn key(prompt: &str) -> PromptKey {
        let setting = PromptSetting {
            scope: PromptScope::Tenant("t".into()),
            model: "m".into(),
            temperature: None,
            max_tokens: None,
            context_hash: content_hash(""),
        };
        PromptKey::new(setting, prompt)
    }

    fn entry(prompt: &str, length: usize) -> CacheEntry {
        CacheEntry {
            id: key(prompt).id(),
            prompt: Content::from_stored(prompt),
            response: Content::from_stored(&"x".repeat(length)),
            generation_ms: 0.0,
            input_tokens: 0,
            output_tokens: 0,
            hits: 0,
            created_at: Timestamp::from_ms(0),
            expires_at: Timestamp::from_ms(100),
        }
    }

    fn insert(
        cache: &PromptReadCache,
        read: ReadVersion,
        row: i64,
        (prompt, length): (&str, usize),
    ) {
        let (key, entry) = (key(prompt), entry(prompt, length));
        let version = read.of(row);
        cache.insert(Entry {
            version,
            key,
            cached: entry,
        });
    }

    fn has(cache: &PromptReadCache, prompt: &str) -> bool {
        let key = key(prompt);
        cache.find(&key, key.id(), Timestamp::from_ms(99)).is_some()
    }

    #[test]
    fn a_changed_row_is_found_no_more_and_every_other_is() {
        let cache = PromptReadCache::default();
        for (row, prompt) in [(1, "a"), (2, "b"), (3, "c")] {
            insert(&cache, cache.at_read(), row, (prompt, 1));
        }
        assert!(has(&cache, "a") && has(&cache, "b") && has(&cache, "c"));
        let before = cache.at_read();
        cache.versions.count([1, 2].into_iter());
        assert!(!has(&cache, "a") && !has(&cache, "b") && has(&cache, "c"));
        insert(&cache, before, 1, ("a", 1));
        assert!(!has(&cache, "a"), "read before the change");
        insert(&cache, cache.at_read(), 1, ("a", 1));
        assert!(has(&cache, "a"), "read after it");
    }

    #[test]
    fn what_has_expired_is_not_found_and_no_more_is_held_than_there_is_room_for() {
        let (cache, end) = (PromptReadCache::default(), Timestamp::from_ms(100));
        insert(&cache, cache.at_read(), 0, ("0", 1));
        assert!(has(&cache, "0"));
        assert_eq!(cache.find(&key("0"), key("0").id(), end), None);
        let names: Vec<_> = (1..3000).map(|row| row.to_string()).collect();
        for (row, prompt) in names.iter().enumerate() {
            insert(&cache, cache.at_read(), row as i64, (prompt, 64 << 10));
            assert!(has(&cache, prompt));
            assert!(cache.entries.weight() <= CAPACITY);
        }
        let count = names.iter().filter(|prompt| has(&cache, prompt)).count();
        assert!((400..=512).contains(&count), "{count} of 64 KiB each");
    }
}
