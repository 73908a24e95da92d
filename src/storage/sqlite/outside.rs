//! Changes of the file by another process: somebody edits the tables by hand, or an older tool does.
//!
//! Of our own connections only the writer's commits, and `changed.rs` knows what. SQLite counts for each connection what all
//! others have committed; what the writer sees counted, nobody here has written, and of no row it can be told whether it was
//! changed. It is asked once a second in the queue of the writing thread, so that no message waits for it longer than that
//! takes: 2 µs.

use super::{NAME, Writer, sql};
use crate::error::Result;
use crate::storage::worker::{Poison, Worker, spawn_essential};
use rusqlite::Connection;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a page from memory may be older than what another process has written.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a connection had seen counted when it was asked last.
#[derive(Debug)]
pub(super) struct Outside(i64);

impl Outside {
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
    /// Lets no page stand that was read before another process wrote, nor one of which that cannot be told.
    fn look_outside(&mut self) {
        match self.outside.has_written(&self.connection) {
            Ok(false) => return,
            Ok(true) => {
                tracing::info!(
                    "another process has changed the database file; pages are read anew"
                );
            }
            Err(cause) => {
                tracing::warn!(%cause, "whether another process has changed the database file is not known; pages are read anew");
            }
        }
        self.versions.count_all();
    }
}

/// Has the writer look, until this is dropped.
#[derive(Debug)]
pub(super) struct Lookout {
    _ends_with: mpsc::Sender<()>,
}

impl Lookout {
    /// Begins to look.
    pub(super) fn start(writer: &Arc<Worker<Writer>>, poison: Poison) -> Result<Self> {
        let (alive, ended) = mpsc::channel::<()>();
        let writer = Arc::downgrade(writer);
        let look = move || {
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) && ask(&writer) {}
        };
        spawn_essential("sqlite-outside".into(), NAME, poison, look)?;
        Ok(Self { _ends_with: alive })
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
    use crate::storage::Durability;
    use crate::storage::sqlite::open;

    #[test]
    fn what_others_commit_is_seen_once_and_what_we_commit_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guestbook.db");
        let ours = open::writer(&path, Durability::Full).unwrap().connection;
        let (reader, other) = (
            open::reader(&path).unwrap(),
            Connection::open(&path).unwrap(),
        );
        let mut outside = Outside::of(&ours).unwrap();
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
