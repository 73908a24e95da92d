//! When each row was changed last, so that what was read before can be known to be still right without reading.
//!
//! **Invariant:** what was read is fresh only while no later change of its row has been acknowledged. Each change of a row
//! is noted by SQLite itself (`changed.rs`) and counted here after the commit, before anyone hears of it. The file belongs to
//! one process; what another one writes to it all the same is seen within about a second (`outside.rs`).

use guestbook_storage::database::CacheVersion;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// Rows whose numbers are so many apart share a slot, and a change of one is taken for a change of all: 128 KiB.
const SLOTS: usize = 1 << 14;

/// When which row of a table was changed. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct CacheVersions(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Commits that changed a row.
    commits: AtomicU64,
    /// For each slot the commit that changed it last.
    last: Box<[AtomicU64]>,
    /// Begins anywhere, so that no two openings of the file have one in common.
    generation: AtomicU64,
}

/// The version that a read has at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadVersion {
    commit: u64,
    generation: u64,
}

impl ReadVersion {
    /// Of what was read of this row.
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
    /// Before a read: what has been counted by now, it will see.
    pub(super) fn at_read(&self) -> ReadVersion {
        ReadVersion {
            generation: self.0.generation.load(Ordering::SeqCst),
            commit: self.0.commits.load(Ordering::SeqCst),
        }
    }

    /// Whether the row was not changed later.
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

    /// Counts a commit of somebody else's: it may have changed every row. Only the writing thread may call this.
    pub(super) fn count_all(&self) {
        self.0.generation.fetch_add(1, Ordering::SeqCst);
        let commit = self.0.commits.fetch_add(1, Ordering::SeqCst) + 1;
        for slot in &self.0.last {
            slot.fetch_max(commit, Ordering::SeqCst);
        }
    }

    /// Nothing is fresh any more.
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
