//! The tables in one SQLite file: the default, with no service to install.
//!
//! One thread writes, a few read, two more read what takes long. A commit is on disk before it returns (WAL, synchronous=FULL,
//! unless opened for less), so many messages share one commit. See `sql.rs` for every statement.

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

mod atomic_file;
mod audit;
mod backup;
mod cache_version;
mod change_hook;
mod chat_row;
mod chats;
mod check;
mod checkpoint;
mod corpus;
mod data_version;
mod error;
mod file;
#[cfg(test)]
mod long_reads;
mod lookups;
mod open;
mod outbox;
mod probe;
mod prompt_read_cache;
mod prompts;
mod query;
#[cfg(test)]
mod query_plan_tests;
mod readers;
mod record;
mod rows;
mod search;
mod settings;
mod sql;
mod stored_ids;
mod text;
#[cfg(test)]
mod upgrades;
mod vectors;
mod writer;

pub use backup::{CopyObserver, CopyProgress, CopySummary, restore, save};
pub use check::StopFlag;
pub use query::query;
pub use settings::stored_settings;

use async_trait::async_trait;
use cache_version::CacheVersions;
use check::BackgroundCheck;
use checkpoint::CheckpointErrors;
use error::convert;
use file::DatabaseFile;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_storage::database::TableSettings;
use guestbook_storage::probe::LastProbe;
use guestbook_storage::worker::{Poison, Worker};
use guestbook_storage::{Durability, DurabilityReport, Stats, Storage};
use open::OpenedFile;
use prompt_read_cache::PromptReadCache;
use readers::Readers;
use rusqlite::Transaction;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use uuid::Uuid;
use writer::Writer;

const NAME: &str = "sqlite";
/// Capacity of the writer's queue in jobs. Each is a whole batch, so a longer queue would only hide a stall.
const WRITER_QUEUE: usize = 64;

/// A SQLite file with the tables.
#[derive(Debug)]
pub struct SqliteDatabase {
    /// The path as configured.
    named: PathBuf,
    /// The canonical path.
    path: PathBuf,
    /// Owned by the writer.
    file: Weak<DatabaseFile>,
    epoch: Uuid,
    durability: Durability,
    poison: Poison,
    writer: Arc<Worker<Writer>>,
    readers: Readers,
    /// Recently read prompt cache entries.
    prompt_cache: PromptReadCache,
    /// Prompt cache lookups that wait for a reading thread.
    lookups: lookups::LookupBatcher,
    /// The last change of each conversation.
    versions: CacheVersions,
    /// Detects foreign writes and the loss of the file.
    _watcher: data_version::DataVersionWatcher,
    /// Whether there is a full-text index.
    text_index: AtomicBool,
    /// The check after an unclean stop.
    check: Option<BackgroundCheck>,
}

impl SqliteDatabase {
    /// Opens or creates the file and migrates its schema.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be opened or written, `Unsupported` if a newer version wrote it, `Corrupt` if it is no
    /// database.
    pub fn open(path: &Path, settings: TableSettings) -> Result<Self> {
        Self::open_for(Durability::Full, path, settings)
    }

    /// As [`Self::open`], with commits of this durability.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_for(durability: Durability, path: &Path, settings: TableSettings) -> Result<Self> {
        let mut opened = open::writer(path, durability)?;
        open::require_writable(path, &mut opened.connection)?;
        let _ = atomic_file::remove_leftovers(opened.file.path()); // of an interrupted restore
        settings::note(&mut opened.connection, &settings)?;
        text::apply_wanted(&mut opened.connection, settings.text_index)?;
        Self::start(path, settings, opened)
    }

    /// As [`Self::open`], but does not apply changed settings to the chats and lists: for inspecting what a server will serve.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn inspect(path: &Path, settings: TableSettings) -> Result<Self> {
        Self::start(path, settings, open::inspector(path)?)
    }

    fn start(named: &Path, settings: TableSettings, opened: OpenedFile) -> Result<Self> {
        // In this order, so that after a failure here the file is released last.
        let (file, mut connection) = (Arc::new(opened.file), opened.connection);
        let path = file.path().to_owned();
        let checkpoints = CheckpointErrors::of(&mut connection).map_err(convert("open"))?;
        let poison = Poison::default();
        let readers = Readers::start(&path, &poison)?;
        let check = match opened.is_unchecked {
            true => Some(BackgroundCheck::start(&path, poison.clone())?),
            false => None,
        };
        let text_index = AtomicBool::new(settings.text_index);
        let prompt_cache = PromptReadCache::default();
        let (changed, versions) = (
            change_hook::ChangedRows::default(),
            CacheVersions::default(),
        );
        let watching = changed.watch(&mut connection);
        watching.map_err(convert("open"))?;
        let outside = data_version::DataVersion::of(&connection).map_err(convert("open"))?;
        let writer = Writer {
            changed,
            outside,
            versions: versions.clone(),
            prompt_versions: prompt_cache.versions.clone(),
            connection,
            durability: opened.durability,
            checkpoints,
            settings: Arc::new(settings),
            poison: poison.clone(),
            full: None,
            file: Arc::clone(&file),
            probe: LastProbe::default(),
        };
        let file = Arc::downgrade(&file);
        let writer = Worker::spawn(NAME, "writer", WRITER_QUEUE, poison.clone(), vec![writer])?;
        let writer = Arc::new(writer);
        Ok(Self {
            named: named.to_owned(),
            path,
            epoch: opened.epoch,
            durability: opened.durability,
            poison: poison.clone(),
            _watcher: data_version::DataVersionWatcher::start(
                &writer,
                file.clone(),
                poison.clone(),
            )?,
            file,
            writer,
            readers,
            prompt_cache,
            lookups: lookups::LookupBatcher::default(),
            versions,
            text_index,
            check,
        })
    }

    /// Runs `work`, which reads a bounded number of rows, in one read transaction: a snapshot.
    async fn read<R: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R> {
        readers::read(&self.readers.short, operation, work).await
    }

    /// As [`Self::read`], for any number of rows: behind others of this kind only.
    async fn read_long<R: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R> {
        readers::read(&self.readers.long, operation, work).await
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

    /// As [`Self::write`], without waiting for the disk: for the prompt cache only.
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

#[async_trait]
impl Storage for SqliteDatabase {
    fn name(&self) -> &'static str {
        NAME
    }

    fn location(&self) -> String {
        self.named.display().to_string()
    }

    async fn health(&self) -> Result<()> {
        self.writer.call("health", Writer::try_to_write).await?;
        if let Some(file) = self.file.upgrade() {
            file.require_unsuspected()?;
        }
        let read = |tx: &Transaction<'_>| tx.query_row(sql::SIZE, [], |_| Ok(()));
        readers::read(&self.readers.probe, "health", read).await
    }

    fn fatal(&self) -> Option<Error> {
        self.poison.check().err()
    }

    async fn durability(&self) -> Result<DurabilityReport> {
        let settings = match self.durability {
            Durability::Full => "synchronous=FULL",
            _ => "synchronous=NORMAL",
        };
        Ok(DurabilityReport::new(self.durability, settings))
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

    /// Where every commit is durable when it returns, this only waits for the writer.
    async fn flush(&self) -> Result<()> {
        let is_full = self.durability == Durability::Full;
        let flush = move |writer: &mut Writer| match is_full {
            true => Ok(()),
            false => writer.sync(),
        };
        self.writer.call("flush", flush).await
    }

    /// A journal that cannot be checkpointed is left for the next start; only a failed fsync is an error.
    async fn close(&self) -> Result<()> {
        if let Some(check) = &self.check {
            check.end();
        }
        self.prompt_cache.versions.end();
        self.versions.end();
        self.readers.close().await;
        let moved = self.writer.call("close", Writer::empty_journal).await;
        self.writer.close().await;
        if let Some(cause) = self.fatal().filter(|it| it.kind() == ErrorKind::Corrupt) {
            check::distrust(&self.path, &cause);
        }
        moved.or_else(|_| self.poison.check())
    }
}
