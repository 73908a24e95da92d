//! Checkpoints whose errors are reported.
//!
//! SQLite checkpoints by itself after a commit and swallows every error, because the commit is durable in the journal, which is
//! not overwritten before a checkpoint has succeeded. So no acknowledged write is at risk. But after a failed fsync the disk
//! must not be trusted with more writes, and repeated failures let the journal grow until the disk is full. Hence the same
//! checkpoint at the same place, with its error kept for the writer.

use rusqlite::Connection;
use rusqlite::hooks::Wal;
use std::ffi::c_int;
use std::sync::{Arc, Mutex, PoisonError};

/// Pages of the journal that trigger a checkpoint after a commit: 16 MB. More would lengthen recovery after a crash, fewer
/// would write the same pages more often.
const JOURNAL_PAGES: c_int = 4_000;

/// The error of the last checkpoint, until it is taken.
#[derive(Clone, Debug, Default)]
pub(super) struct CheckpointErrors(Arc<Mutex<Option<rusqlite::Error>>>);

impl CheckpointErrors {
    /// Replaces the automatic checkpoints of a connection.
    pub(super) fn of(connection: &mut Connection) -> rusqlite::Result<Self> {
        Self::every(connection, JOURNAL_PAGES)
    }

    fn every(connection: &mut Connection, pages: c_int) -> rusqlite::Result<Self> {
        let checkpoints = Self::default();
        let failed = checkpoints.clone();
        let follow = move |journal: &mut Wal, written: c_int| {
            if written >= pages {
                failed.keep(journal.checkpoint().err());
            }
            Ok(()) // the commit is done: an error here would be taken for its own
        };
        connection.wal_hook(Some(follow))?;
        Ok(checkpoints)
    }

    /// The error of the checkpoint after the last commit, if it failed.
    pub(super) fn take_failure(&self) -> Option<rusqlite::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keep(&self, failure: Option<rusqlite::Error>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open;
    use guestbook_storage::Durability;

    #[test]
    fn a_journal_that_has_grown_is_moved_into_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guestbook.db");
        let mut connection = open::writer(&path, Durability::Full).unwrap().connection;
        let checkpoints = CheckpointErrors::every(&mut connection, 1).unwrap();
        let size = || path.metadata().unwrap().len();
        let before = size();
        let big = "INSERT INTO guestbook_meta VALUES ('big', hex(zeroblob(100000)))";
        connection.execute_batch(big).unwrap();
        assert!(size() >= before + 200_000, "{before} and {}", size());
        assert!(checkpoints.take_failure().is_none());
    }
}
