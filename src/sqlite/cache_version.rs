//! Tracks the last change of each row, so that cached data can be validated without reading.
//!
//! **Invariant:** what was read is fresh only while no later change of its row has been acknowledged. SQLite itself reports each
//! change of a row (`change_hook.rs`); it is counted here after the commit, before the commit is acknowledged. The file belongs
//! to one process; foreign writes are detected within about a second (`data_version.rs`).

use guestbook_storage::database::CacheVersion;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// Rows this many numbers apart share a slot, and a change of one counts as a change of all: 128 KiB.
const SLOTS: usize = 1 << 14;

/// The last change of each row of a table. All clones are one.
#[derive(Clone, Debug)]
pub(super) struct CacheVersions(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Commits so far that changed a row.
    commits: AtomicU64,
    /// For each slot the last commit that changed it.
    last: Box<[AtomicU64]>,
    /// Starts at a random value, so that two openings of the file never share a generation.
    generation: AtomicU64,
}

/// The minimum version of a read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadVersion {
    commit: u64,
    generation: u64,
}

impl ReadVersion {
    /// The version of a row read.
    pub(super) fn of(self, row: i64) -> CacheVersion {
        CacheVersion {
            row,
            commit: self.commit,
            generation: self.generation,
        }
    }
}

impl Default for CacheVersions {
    fn default() -> Self {
        Self(Arc::new(Shared {
            commits: AtomicU64::new(0),
            last: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            generation: AtomicU64::new(Uuid::new_v4().as_u64_pair().1),
        }))
    }
}

impl CacheVersions {
    /// Taken before a read, which sees at least every commit counted by now.
    pub(super) fn at_read(&self) -> ReadVersion {
        // In this order: `count_all` raises the generation first, so no read has its commit with the generation before.
        let commit = self.0.commits.load(Ordering::SeqCst);
        let generation = self.0.generation.load(Ordering::SeqCst);
        ReadVersion { commit, generation }
    }

    /// Whether the row is unchanged since.
    pub(super) fn is_fresh(&self, version: &CacheVersion) -> bool {
        self.slot(version.row).load(Ordering::SeqCst) <= version.commit
    }

    /// Counts a commit that changed these rows. Only the writing thread may call this.
    pub(super) fn count(&self, rows: impl ExactSizeIterator<Item = i64>) {
        if rows.len() == 0 {
            return;
        }
        let commit = self.0.commits.fetch_add(1, Ordering::SeqCst) + 1;
        for row in rows {
            self.slot(row).store(commit, Ordering::SeqCst);
        }
    }

    /// Counts a foreign commit, which may have changed every row. Only the writing thread may call this.
    pub(super) fn count_all(&self) {
        self.0.generation.fetch_add(1, Ordering::SeqCst);
        let commit = self.0.commits.fetch_add(1, Ordering::SeqCst) + 1;
        for slot in &self.0.last {
            slot.fetch_max(commit, Ordering::SeqCst);
        }
    }

    /// Invalidates everything.
    pub(super) fn end(&self) {
        for slot in &self.0.last {
            slot.store(u64::MAX, Ordering::SeqCst);
        }
    }

    fn slot(&self, row: i64) -> &AtomicU64 {
        &self.0.last[row as usize % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_fresh_until_its_conversation_is_changed() {
        let versions = CacheVersions::default();
        let (a, b) = (versions.at_read().of(1), versions.at_read().of(2));
        versions.count([].into_iter());
        assert!(versions.is_fresh(&a) && versions.is_fresh(&b));
        let before = versions.at_read();
        versions.count([1, 1].into_iter());
        assert!(!versions.is_fresh(&a) && versions.is_fresh(&b));
        let late = before.of(1);
        assert!(!versions.is_fresh(&late), "its read began too early");
        let again = versions.at_read().of(1);
        versions.count([2].into_iter());
        assert!(versions.is_fresh(&again) && !versions.is_fresh(&b));
    }

    #[test]
    fn conversations_that_share_a_slot_are_changed_together_and_a_closed_file_has_none() {
        let versions = CacheVersions::default();
        let page = versions.at_read().of(7);
        versions.count([7 + 3 * SLOTS as i64].into_iter());
        assert!(!versions.is_fresh(&page));
        let page = versions.at_read().of(-1);
        assert!(versions.is_fresh(&page));
        versions.count_all();
        assert!(!versions.is_fresh(&page), "somebody else has written");
        let again = versions.at_read().of(-1);
        assert!(versions.is_fresh(&again), "it was read after that");
        assert_ne!(again.generation(), page.generation());
        let page = again;
        versions.end();
        versions.count_all();
        assert!(!versions.is_fresh(&page));
    }
}
