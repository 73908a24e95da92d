//! Counts lookups in memory and writes the counters about once a second.

use guestbook_core::{OwnerId, Timestamp};
use guestbook_storage::database::{
    CacheEntry, CacheHits, LookupCounts, LookupTotals, OwnerLookups,
};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Minimum interval between writes.
pub(super) const GATHER: Duration = Duration::from_secs(1);
/// Last-access time has 10-minute resolution: updating it on each hit would move the entry in the indexes, which costs most
/// of what counting a hit does.
const USED_MS: i64 = 10 * 60 * 1000;
/// Entries and owners written per transaction, so that messages never wait for long.
const AT_ONCE: usize = 256;

/// Counters not written yet. A crash loses at most about a second of them.
#[derive(Debug, Default)]
pub(crate) struct LookupCounters(Mutex<LookupDeltas>);

#[derive(Debug, Default)]
struct LookupDeltas {
    /// The sums; `given` and `owners` stay empty.
    sums: LookupTotals,
    given: HashMap<Uuid, (u64, Timestamp)>,
    owners: HashMap<OwnerId, LookupCounts>,
    since: Option<Instant>,
}

impl LookupCounters {
    /// Counts a lookup, and the entry it hit.
    pub(super) fn count(&self, entry: Option<&CacheEntry>, owner: Option<OwnerId>, at: Timestamp) {
        let saved = entry.map_or(0, |it| it.input_tokens.saturating_add(it.output_tokens));
        let counts = LookupCounts {
            hits: u64::from(entry.is_some()),
            misses: u64::from(entry.is_none()),
            tokens_saved: saved,
        };
        self.with(|gathering| {
            gathering.since.get_or_insert_with(Instant::now);
            gathering.sums.hits += counts.hits;
            gathering.sums.misses += counts.misses;
            gathering.sums.tokens_saved = gathering.sums.tokens_saved.saturating_add(saved);
            if let Some(entry) = entry {
                gathering.sums.saved_ms += entry.generation_ms;
                gathering.give(entry.id, 1, about(at));
            }
            if let Some(owner) = owner {
                gathering.own(owner, &counts);
            }
        });
    }

    /// The counters gathered for at least `long`, in parts that are written one by one.
    pub(super) fn take(&self, long: Duration) -> Vec<LookupTotals> {
        self.with(|gathering| match gathering.since {
            Some(since) if since.elapsed() >= long => std::mem::take(gathering).parts(),
            _ => Vec::new(),
        })
    }

    /// Merges back counters that could not be written.
    pub(super) fn put_back(&self, deltas: LookupTotals) {
        self.with(|gathering| {
            gathering.since.get_or_insert_with(Instant::now);
            gathering.sums.hits += deltas.hits;
            gathering.sums.misses += deltas.misses;
            gathering.sums.tokens_saved += deltas.tokens_saved;
            gathering.sums.saved_ms += deltas.saved_ms;
            for given in deltas.given {
                gathering.give(given.id, given.hits, given.last);
            }
            for lookups in deltas.owners {
                gathering.own(lookups.owner, &lookups.counts);
            }
        });
    }

    fn with<R>(&self, work: impl FnOnce(&mut LookupDeltas) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Rounds down to ten minutes.
fn about(at: Timestamp) -> Timestamp {
    Timestamp::from_ms(at.ms() - at.ms().rem_euclid(USED_MS))
}

impl LookupDeltas {
    fn give(&mut self, id: Uuid, hits: u64, at: Timestamp) {
        let (given, last) = self.given.entry(id).or_insert((0, at));
        *given += hits;
        *last = at.max(*last);
    }

    fn own(&mut self, owner: OwnerId, more: &LookupCounts) {
        let counts = self.owners.entry(owner).or_default();
        counts.hits += more.hits;
        counts.misses += more.misses;
        counts.tokens_saved = counts.tokens_saved.saturating_add(more.tokens_saved);
    }

    /// The first part carries the sums.
    fn parts(self) -> Vec<LookupTotals> {
        let given = |(id, (hits, last))| CacheHits { id, hits, last };
        let owner = |(owner, counts)| OwnerLookups { owner, counts };
        let given: Vec<_> = self.given.into_iter().map(given).collect();
        let owners: Vec<_> = self.owners.into_iter().map(owner).collect();
        let count = given.len().max(owners.len()).div_ceil(AT_ONCE).max(1);
        let mut parts = vec![LookupTotals::default(); count];
        parts[0] = self.sums;
        for (part, given) in parts.iter_mut().zip(given.chunks(AT_ONCE)) {
            part.given = given.to_vec();
        }
        for (part, owners) in parts.iter_mut().zip(owners.chunks(AT_ONCE)) {
            part.owners = owners.to_vec();
        }
        parts
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;
    use guestbook_core::Content;

    fn entry(n: u128) -> CacheEntry {
        CacheEntry {
            id: Uuid::from_u128(n),
            prompt: Content::from_stored("ask"),
            response: Content::from_stored("answer"),
            generation_ms: 10.0,
            input_tokens: 2,
            output_tokens: 3,
            hits: 0,
            created_at: Timestamp::default(),
            expires_at: Timestamp::default(),
        }
    }

    #[test]
    fn everything_is_in_one_part_or_another_and_once() {
        let lookups = LookupCounters::default();
        let owner = OwnerId::from_stored("g1");
        for n in 0..300 {
            let later = Timestamp::from_ms(USED_MS + 2);
            lookups.count(Some(&entry(n)), None, Timestamp::from_ms(1));
            lookups.count(Some(&entry(n)), Some(owner.clone()), later);
            lookups.count(None, Some(owner.clone()), later);
        }
        assert!(lookups.take(GATHER * 60).is_empty(), "not long enough");
        let parts = lookups.take(Duration::ZERO);
        assert_eq!(parts.len(), 2);
        for part in parts {
            lookups.put_back(part);
        }
        let parts = lookups.take(Duration::ZERO);
        let given: Vec<_> = parts.iter().flat_map(|part| &part.given).collect();
        assert_eq!(given.len(), 300);
        assert!(
            given
                .iter()
                .all(|one| one.hits == 2 && one.last == Timestamp::from_ms(USED_MS))
        );
        let sum = |of: fn(&LookupTotals) -> u64| parts.iter().map(of).sum::<u64>();
        assert_eq!((sum(|it| it.hits), sum(|it| it.misses)), (600, 300));
        assert_eq!(sum(|it| it.tokens_saved), 3000);
        let counts = LookupCounts {
            hits: 300,
            misses: 300,
            tokens_saved: 1500,
        };
        let owners: Vec<_> = parts.iter().flat_map(|part| part.owners.clone()).collect();
        assert_eq!(owners, [OwnerLookups { owner, counts }]);
        assert!(lookups.take(Duration::ZERO).is_empty());
    }
}
