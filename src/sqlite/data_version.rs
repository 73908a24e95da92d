//! Detects foreign writes, and the loss of the file.
//!
//! Foreign writes are detected by polling `PRAGMA data_version` every second on the writing connection: it counts the commits of
//! all other connections, and of ours only the writer commits. Which rows a foreign commit changed is unknown. The poll is queued
//! on the writing thread and takes 2 µs, so no message waits longer.
//!
//! A file that is removed, renamed or replaced can still be written, and every write is lost with the process. So its path is
//! checked several times a second on a separate thread, which does not depend on the writer, and by the writer before each
//! commit is acknowledged.
//! before each commit is acknowledged.

use super::file::DatabaseFile;
use super::{NAME, Writer, sql};
use guestbook_core::error::Result;
use guestbook_storage::worker::{Poison, Worker, spawn_essential};
use rusqlite::Connection;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Poll interval of the file's path: the loss of the file is reported within a second.
const INTERVAL: Duration = Duration::from_millis(250);
/// Polls of the path per poll of foreign writes: a cached page may lag behind those by a second.
const LOOKS: u32 = 4;

/// The `data_version` at the last poll.
#[derive(Debug)]
pub(super) struct DataVersion(i64);

impl DataVersion {
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        counted(connection).map(Self)
    }

    /// Whether another connection has committed since the last poll.
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
    /// Invalidates every cached page if another process wrote, or if that cannot be determined.
    fn poll_data_version(&mut self) {
        match self.outside.has_written(&self.connection) {
            Ok(false) => return,
            Ok(true) => {
                tracing::info!(
                    "response cache invalidated: another process has changed the database file"
                );
            }
            Err(cause) => {
                tracing::warn!(%cause, "response cache invalidated: the data version cannot be read");
            }
        }
        self.versions.count_all();
        self.prompt_versions.count_all();
    }
}

/// Polls until it is dropped.
#[derive(Debug)]
pub(super) struct DataVersionWatcher {
    _ends_with: mpsc::Sender<()>,
}

impl DataVersionWatcher {
    /// Starts polling.
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
                if round % LOOKS == 0 && !queue_poll(&writer) {
                    return;
                }
            }
        };
        spawn_essential("sqlite-outside".into(), NAME, poison, look)?;
        Ok(Self { _ends_with: alive })
    }
}

/// Whether the path still leads to the file. If not, nothing more is acknowledged.
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

/// Queues a poll on the writer; returns whether the writer still exists. If its queue is full, the next second suffices.
fn queue_poll(writer: &Weak<Worker<Writer>>) -> bool {
    let Some(writer) = writer.upgrade() else {
        return false;
    };
    if let Some(place) = writer.try_reserve() {
        place.run(Writer::poll_data_version);
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
