//! The tables in one SQLite file: the default, with no service to install.
//!
//! One thread writes, a few read. A commit is on disk before it returns (WAL, synchronous=FULL, unless opened for less),
//! so many messages share one: that is what makes it fast. See `sql.rs` for every statement.

mod audit;
mod backup;
mod changed;
mod chat_row;
mod chats;
mod check;
mod checkpoint;
mod corpus;
mod error;
mod hot;
mod lookups;
mod open;
mod outbox;
mod outside;
mod partial;
#[cfg(test)]
mod plans;
mod prompts;
mod record;
mod replay;
mod rows;
mod search;
mod settings;
mod sql;
mod text;
mod vectors;
mod versions;

pub use backup::{Copied, Step, Watch, restore, save};
pub use check::Stop;
pub use open::query;
pub use settings::stored_settings;

use super::database::TableSettings;
use super::worker::{Poison, Worker};
use super::{Durability, Promise, Stats, Storage};
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use async_trait::async_trait;
use check::Background;
use checkpoint::Checkpoints;
use error::convert;
use open::Opened;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use uuid::Uuid;

const NAME: &str = "sqlite";
/// Jobs that may wait for the writer. Each is a whole batch, so a longer queue would only hide a stall.
const WRITER_QUEUE: usize = 64;
const READER_QUEUE: usize = 1024;

/// A SQLite file with the tables.
#[derive(Debug)]
pub struct SqliteDatabase {
    path: PathBuf,
    epoch: Uuid,
    durability: Durability,
    poison: Poison,
    writer: Arc<Worker<Writer>>,
    readers: Worker<Connection>,
    /// Answers to prompts that were read lately.
    hot: hot::Hot,
    /// Lookups of answers that wait for a reading thread.
    lookups: lookups::Lookups,
    /// When each conversation was changed last.
    versions: versions::Versions,
    /// Tells when another process has written.
    _lookout: outside::Lookout,
    /// Whether there is an index over words.
    text_index: AtomicBool,
    /// Under way after a stop that was not clean.
    check: Option<Background>,
}

/// What the writing thread owns.
#[derive(Debug)]
struct Writer {
    connection: Connection,
    durability: Durability,
    checkpoints: Checkpoints,
    settings: Arc<TableSettings>,
    poison: Poison,
    changed: changed::Changed,
    hot: hot::Hot,
    versions: versions::Versions,
    outside: outside::Outside,
    /// The last failure for want of room. Only a write that changes something shows that there is room again.
    full: Option<Error>,
}

impl SqliteDatabase {
    /// Opens or makes the file and brings its schema up to date.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be opened or written, `Unsupported` when it was written by a newer version,
    /// `Corrupt` when it is no database.
    pub fn open(path: &Path, settings: TableSettings) -> Result<Self> {
        Self::open_for(Durability::Full, path, settings)
    }

    /// As [`Self::open`], with commits that outlive no more than `durability` says.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_for(durability: Durability, path: &Path, settings: TableSettings) -> Result<Self> {
        let mut opened = open::writer(path, durability)?;
        open::require_writable(path, &mut opened.connection)?;
        settings::note(&mut opened.connection, &settings)?;
        text::settle(&mut opened.connection, settings.text_index)?;
        Self::start(path, settings, opened)
    }

    /// As [`Self::open`], but leaves the retention of the chats and the life of the lists as they are: for looking at what a
    /// server will serve.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn inspect(path: &Path, settings: TableSettings) -> Result<Self> {
        let durability = Durability::Full; // what is mended is mended for good
        Self::start(path, settings, open::writer(path, durability)?)
    }

    fn start(path: &Path, settings: TableSettings, mut opened: Opened) -> Result<Self> {
        let checkpoints = Checkpoints::of(&mut opened.connection).map_err(convert("open"))?;
        let threads = std::thread::available_parallelism()
            .map_or(2, usize::from)
            .clamp(2, 8);
        let readers = (0..threads)
            .map(|_| open::reader(path))
            .collect::<Result<_>>()?;
        let poison = Poison::default();
        let check = match opened.is_unchecked {
            true => Some(Background::start(path, poison.clone())?),
            false => None,
        };
        let text_index = AtomicBool::new(settings.text_index);
        let hot = hot::Hot::default();
        let (changed, versions) = (changed::Changed::default(), versions::Versions::default());
        let watching = changed.watch(&mut opened.connection);
        watching.map_err(convert("open"))?;
        let outside = outside::Outside::of(&opened.connection).map_err(convert("open"))?;
        let writer = Writer {
            changed,
            outside,
            hot: hot.clone(),
            versions: versions.clone(),
            connection: opened.connection,
            durability: opened.durability,
            checkpoints,
            settings: Arc::new(settings),
            poison: poison.clone(),
            full: None,
        };
        let writer = Worker::spawn(NAME, "writer", WRITER_QUEUE, poison.clone(), vec![writer])?;
        let writer = Arc::new(writer);
        Ok(Self {
            path: path.to_owned(),
            epoch: opened.epoch,
            durability: opened.durability,
            poison: poison.clone(),
            _lookout: outside::Lookout::start(&writer)?,
            writer,
            readers: Worker::spawn(NAME, "reader", READER_QUEUE, poison, readers)?,
            hot,
            lookups: lookups::Lookups::default(),
            versions,
            text_index,
            check,
        })
    }

    /// Runs `work` in one read transaction, so that everything it reads is of one moment.
    async fn read<R: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R> {
        let run = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let answer = work(&transaction)?;
            transaction.finish()?;
            Ok(answer)
        };
        self.readers
            .call(operation, move |connection| {
                run(connection).map_err(convert(operation))
            })
            .await
    }

    /// Runs `work` in one write transaction and commits it.
    async fn write<R: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>, &TableSettings) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R> {
        self.writer
            .call(operation, move |writer| writer.transact(operation, work))
            .await
    }

    /// As [`Self::write`], without waiting for the disk: for what is only a cache.
    async fn write_lightly<R: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R> {
        self.writer
            .call(operation, move |writer| {
                writer.transact_lightly(operation, |tx, _| work(tx))
            })
            .await
    }
}

impl Writer {
    /// As [`Self::transact`], for what may be lost by a power cut: the commit does not wait for the disk. It is on disk with
    /// the next one that does, so what was answered as saved is as safe as ever.
    fn transact_lightly<R>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>, &TableSettings) -> rusqlite::Result<R>,
    ) -> Result<R> {
        if self.durability != Durability::Full {
            return self.transact(operation, work);
        }
        let lighten = self.connection.execute_batch(sql::SYNCHRONOUS_NORMAL);
        lighten.map_err(|cause| self.failed(operation, cause))?;
        let answer = self.transact(operation, work);
        if let Err(cause) = self.connection.execute_batch(sql::SYNCHRONOUS_FULL) {
            let failure = self.failed(operation, cause);
            self.poison.set(failure); // the next message must not be acknowledged by half
        }
        answer
    }

    fn transact<R>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>, &TableSettings) -> rusqlite::Result<R>,
    ) -> Result<R> {
        let run = |connection: &mut Connection, settings: &TableSettings| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = work(&transaction, settings)?;
            failpoint::reach("commit.before");
            transaction.commit()?;
            failpoint::reach("commit.after");
            Ok(answer)
        };
        let done = run(&mut self.connection, &self.settings);
        self.forget_changed();
        let answer = done.map_err(|cause| self.failed(operation, cause))?;
        self.look_at_checkpoint()?;
        Ok(answer)
    }

    /// Forgets what is held in memory of rows that were changed, before anyone is told of the commit. If there was none, no harm
    /// is done.
    fn forget_changed(&self) {
        let mut rows = self.changed.rows();
        self.hot.forget(rows.prompts.drain(..));
        self.versions.count(rows.chats.drain(..));
    }

    /// Makes every commit so far outlive a power cut, where commits alone do not.
    fn sync(&mut self) -> Result<()> {
        let run = |connection: &Connection| {
            let mut checkpoint = connection.prepare_cached(sql::CHECKPOINT_ALL)?;
            checkpoint.query_row([], |row| row.get::<_, bool>(0))
        };
        let is_busy = run(&self.connection).map_err(|cause| self.failed("flush", cause))?;
        match is_busy {
            false => Ok(()),
            true => {
                let context = "readers kept the journal from being moved into the file";
                Err(Error::new(ErrorKind::Busy, NAME, "flush", context))
            }
        }
    }

    fn failed(&mut self, operation: &'static str, cause: rusqlite::Error) -> Error {
        let fatal = error::is_fatal(&cause);
        let failure = convert(operation)(cause);
        if fatal {
            self.poison.set(failure.clone());
        }
        if failure.kind() == ErrorKind::Full {
            self.full = Some(failure.clone());
        }
        failure
    }

    /// What was committed is safe in the journal, whatever became of the checkpoint after it. But once an fsync has failed,
    /// nothing more is acknowledged, and that begins with this commit: its client hears that the outcome is not known.
    fn look_at_checkpoint(&mut self) -> Result<()> {
        let Some(cause) = self.checkpoints.take_failure() else {
            return Ok(());
        };
        let failure = self.failed("checkpoint", cause);
        self.poison.check()?;
        tracing::warn!(cause = %failure, "the journal could not be moved into the database file; it grows until that is done");
        Ok(())
    }

    /// The last checkpoint. SQLite would do it when the connection is closed, and keep its errors to itself.
    fn empty_journal(&mut self) -> Result<()> {
        let done = self.connection.query_row(sql::CHECKPOINT, [], |_| Ok(()));
        done.map_err(|cause| self.failed("checkpoint", cause))
    }

    /// Whether there is room again, after there was none. A write is tried for this, because nothing else can tell.
    fn look_for_room(&mut self) -> Result<()> {
        if self.full.is_none() {
            return Ok(());
        }
        self.transact("health", |tx, _| {
            tx.execute(sql::META_PUT, ["room", "1"])?;
            tx.execute(sql::META_DELETE, ["room"]).map(drop)
        })?;
        self.full = None;
        Ok(())
    }
}

#[async_trait]
impl Storage for SqliteDatabase {
    fn name(&self) -> &'static str {
        NAME
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    async fn health(&self) -> Result<()> {
        self.writer.call("health", Writer::look_for_room).await?;
        self.read("health", |tx| tx.query_row(sql::SIZE, [], |_| Ok(())))
            .await
    }

    fn fatal(&self) -> Option<Error> {
        self.poison.check().err()
    }

    async fn durability(&self) -> Result<Promise> {
        let settings = match self.durability {
            Durability::Full => "synchronous=FULL",
            _ => "synchronous=NORMAL",
        };
        Ok(Promise::new(self.durability, settings))
    }

    async fn stats(&self) -> Result<Stats> {
        self.read("stats", |tx| {
            Ok(Stats {
                entries: tx.query_row(sql::ENTRIES, [], |row| row.get(0))?,
                bytes: tx.query_row(sql::SIZE, [], |row| row.get(0))?,
            })
        })
        .await
    }

    /// Where every commit is on disk when it returns, this only waits for the writer.
    async fn flush(&self) -> Result<()> {
        let is_full = self.durability == Durability::Full;
        let flush = move |writer: &mut Writer| match is_full {
            true => Ok(()),
            false => writer.sync(),
        };
        self.writer.call("flush", flush).await
    }

    /// A journal that cannot be moved into the file is left for the next start; only a failed fsync is an error.
    async fn close(&self) -> Result<()> {
        if let Some(check) = &self.check {
            check.end();
        }
        self.versions.end(); // from here on reading is an error
        self.readers.close().await;
        let moved = self.writer.call("close", Writer::empty_journal).await;
        self.writer.close().await;
        if let Some(cause) = self.fatal().filter(|it| it.kind() == ErrorKind::Corrupt) {
            check::distrust(&self.path, &cause);
        }
        moved.or_else(|_| self.poison.check())
    }
}
