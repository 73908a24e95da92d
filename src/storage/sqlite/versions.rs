//! When each conversation was changed last, so that a page that was read before can be known to be still right without reading.
//!
//! **Invariant:** a page is current only while no later change of its conversation has been acknowledged. Each change of a row
//! is noted by SQLite itself (`changed.rs`) and counted here after the commit, before anyone hears of it. The file belongs to
//! one process; what another one writes to it all the same is seen within about a second (`outside.rs`).

use crate::storage::database::Version;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Conversations whose rows are so many apart share a place, and a change of one is taken for a change of all: 128 KiB.
const PLACES: usize = 1 << 14;

/// When what was changed. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Versions(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Commits that changed a conversation.
    count: AtomicU64,
    /// For each place the commit that changed it last.
    last: Box<[AtomicU64]>,
}

/// From when a read is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since(u64);

impl Default for Versions {
    fn default() -> Self {
        Self(Arc::new(Shared {
            count: AtomicU64::new(0),
            last: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
        }))
    }
}

impl Versions {
    /// Before a read: what has been counted by now, it will see.
    pub(super) fn since(&self) -> Since {
        Since(self.0.count.load(Ordering::SeqCst))
    }

    /// The version of a page that was read of the conversation in this row.
    pub(super) fn of(&self, since: Since, row: i64) -> Version {
        Version {
            chat: row,
            since: since.0,
        }
    }

    /// Whether the conversation was not changed later.
    pub(super) fn is_current(&self, version: &Version) -> bool {
        self.place(version.chat).load(Ordering::SeqCst) <= version.since
    }

    /// Counts a commit that changed these rows. Only the writing thread may call this.
    pub(super) fn count(&self, rows: impl ExactSizeIterator<Item = i64>) {
        if rows.len() == 0 {
            return;
        }
        let commit = self.0.count.fetch_add(1, Ordering::SeqCst) + 1;
        for row in rows {
            self.place(row).store(commit, Ordering::SeqCst);
        }
    }

    /// Counts a commit of somebody else's: it may have changed every conversation. Only the writing thread may call this.
    pub(super) fn count_all(&self) {
        let commit = self.0.count.fetch_add(1, Ordering::SeqCst) + 1;
        for place in &self.0.last {
            place.fetch_max(commit, Ordering::SeqCst);
        }
    }

    /// Nothing is current any more.
    pub(super) fn end(&self) {
        for place in &self.0.last {
            place.store(u64::MAX, Ordering::SeqCst);
        }
    }

    fn place(&self, row: i64) -> &AtomicU64 {
        &self.0.last[row as usize % PLACES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_current_until_its_conversation_is_changed() {
        let versions = Versions::default();
        let (a, b) = (
            versions.of(versions.since(), 1),
            versions.of(versions.since(), 2),
        );
        versions.count([].into_iter());
        assert!(versions.is_current(&a) && versions.is_current(&b));
        let before = versions.since();
        versions.count([1, 1].into_iter());
        assert!(!versions.is_current(&a) && versions.is_current(&b));
        let late = versions.of(before, 1);
        assert!(!versions.is_current(&late), "its read began too early");
        let again = versions.of(versions.since(), 1);
        versions.count([2].into_iter());
        assert!(versions.is_current(&again) && !versions.is_current(&b));
    }

    #[test]
    fn conversations_that_share_a_place_are_changed_together_and_a_closed_file_has_none() {
        let versions = Versions::default();
        let page = versions.of(versions.since(), 7);
        versions.count([7 + 3 * PLACES as i64].into_iter());
        assert!(!versions.is_current(&page));
        let page = versions.of(versions.since(), -1);
        assert!(versions.is_current(&page));
        versions.count_all();
        assert!(!versions.is_current(&page), "somebody else has written");
        let page = versions.of(versions.since(), -1);
        assert!(versions.is_current(&page), "it was read after that");
        versions.end();
        versions.count_all();
        assert!(!versions.is_current(&page));
    }
}
