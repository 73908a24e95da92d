//! Moving the journal into the database file, with an eye on what that says.
//!
//! SQLite does it by itself after a commit, and swallows every error, because the commit is good whatever becomes of the
//! checkpoint: its frames are on disk in the journal, which is not begun anew before a checkpoint has ended well. So nothing
//! acknowledged is in danger. But a disk whose fsync has failed must not be trusted with anything more, and a checkpoint
//! that fails again and again lets the journal grow until the disk is full. Hence the same checkpoint at the same place,
//! with its error kept for the writer.

use rusqlite::Connection;
use rusqlite::hooks::Wal;
use std::ffi::c_int;
use std::sync::{Arc, Mutex, PoisonError};

/// Pages of the journal from which on a commit is followed by a checkpoint: 16 MB. More would be read again at the start
/// after a crash, fewer would write the same pages more often.
const JOURNAL_PAGES: c_int = 4_000;

/// The error of the last checkpoint, until it is taken.
#[derive(Clone, Debug, Default)]
pub(super) struct CheckpointErrors(Arc<Mutex<Option<rusqlite::Error>>>);

impl CheckpointErrors {
    /// Takes the checkpoints of a connection over.
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

    /// The error of the checkpoint that followed the last commit, if there was one.
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
