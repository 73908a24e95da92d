//! What happens to the file from outside: somebody edits the tables by hand, or takes the file away.
//!
//! Of our own connections only the writer's commits, and `changed.rs` knows what. SQLite counts for each connection what all
//! others have committed; what the writer sees counted, nobody here has written, and of no row it can be told whether it was
//! changed. It is asked once a second in the queue of the writing thread, so that no message waits for it longer than that
//! takes: 2 µs.
//!
//! A file that is removed, renamed or replaced can be written for as long as one likes, and all of it is gone with the process.
//! So its path is looked at some times a second on a thread of its own, which needs no writer that has time, and by the writer
//! before each commit is acknowledged.

use super::file::DatabaseFile;
use super::{NAME, Writer, sql};
use guestbook_core::error::Result;
use guestbook_storage::worker::{Poison, Worker, spawn_essential};
use rusqlite::Connection;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the path of the file is looked at: a file that was taken away is noticed within a second.
const INTERVAL: Duration = Duration::from_millis(250);
/// Looks at the path to one at what others wrote: a page from memory may be older than that by a second.
const LOOKS: u32 = 4;

/// The `data_version` of a connection at the last poll.
#[derive(Debug)]
pub(super) struct DataVersion(i64);

impl DataVersion {
    /// From now on.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        counted(connection).map(Self)
    }

    /// Whether another connection than this one has committed since it was asked last.
    fn has_written(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let before = self.0;
        self.0 = counted(connection)?;
        Ok(self.0 != before)
    }
}

fn counted(connection: &Connection) -> rusqlite::Result<i64> {
    let mut ask = connection.prepare_cached(sql::DATA_VERSION)?;
    ask.query_row([], |row| row.get(0))
}

impl Writer {
    /// Invalidates whatever is held in memory if another process wrote, or if that cannot be determined.
    fn look_outside(&mut self) {
        match self.outside.has_written(&self.connection) {
            Ok(false) => return,
            Ok(true) => {
                tracing::info!(
                    "response cache invalidated: another process has written to the database file"
                );
            }
            Err(cause) => {
                tracing::warn!(%cause, "whether another process has changed the database file is not known; what is held in memory is read anew");
            }
        }
        self.versions.count_all();
        self.prompt_versions.count_all();
    }
}

/// Looks, and has the writer look, until this is dropped.
#[derive(Debug)]
pub(super) struct DataVersionWatcher {
    _ends_with: mpsc::Sender<()>,
}

impl DataVersionWatcher {
    /// Begins to look.
    pub(super) fn start(
        writer: &Arc<Worker<Writer>>,
        file: Weak<DatabaseFile>,
        poison: Poison,
    ) -> Result<Self> {
        let (alive, ended) = mpsc::channel::<()>();
        let writer = Arc::downgrade(writer);
        let taken = poison.clone();
        let look = move || {
            for round in 1_u32.. {
                let is_over = ended.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout);
                if is_over || !is_in_place(&file, &taken) {
                    return;
                }
                if round % LOOKS == 0 && !ask(&writer) {
                    return;
                }
            }
        };
        spawn_essential("sqlite-outside".into(), NAME, poison, look)?;
        Ok(Self { _ends_with: alive })
    }
}

/// Whether the file is where it was. Where it is not, nothing more is acknowledged.
fn is_in_place(file: &Weak<DatabaseFile>, poison: &Poison) -> bool {
    let Some(file) = file.upgrade() else {
        return false; // it is closed
    };
    match file.inspect() {
        Ok(()) => true,
        Err(cause) => {
            poison.set(cause);
            false
        }
    }
}

/// Queues a look; whether there still is a writer. Where the queue is full, the next second will do.
fn ask(writer: &Weak<Worker<Writer>>) -> bool {
    let Some(writer) = writer.upgrade() else {
        return false;
    };
    if let Some(place) = writer.try_reserve() {
        place.run(Writer::look_outside);
    }
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;
    use crate::open;
    use guestbook_storage::Durability;

    #[test]
    fn what_others_commit_is_seen_once_and_what_we_commit_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guestbook.db");
        let opened = open::writer(&path, Durability::Full).unwrap();
        let ours = opened.connection;
        let (reader, other) = (
            open::reader(&path).unwrap(),
            Connection::open(&path).unwrap(),
        );
        let mut outside = DataVersion::of(&ours).unwrap();
        let put = "INSERT OR REPLACE INTO guestbook_meta VALUES ('a', hex(randomblob(8)))";
        for round in 0..3 {
            ours.execute_batch(put).unwrap();
            ours.execute_batch("BEGIN IMMEDIATE; DELETE FROM guestbook_meta; ROLLBACK")
                .unwrap();
            ours.query_row(sql::CHECKPOINT, [], |_| Ok(())).unwrap();
            reader.query_row(sql::SIZE, [], |_| Ok(())).unwrap();
            assert!(!outside.has_written(&ours).unwrap(), "round {round}");
            other.execute_batch(put).unwrap();
            ours.execute_batch(put).unwrap();
            assert!(outside.has_written(&ours).unwrap(), "round {round}");
            assert!(!outside.has_written(&ours).unwrap(), "round {round}");
        }
    }
}
