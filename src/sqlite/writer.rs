//! The one connection that writes: transactions, and what must hold before a commit is acknowledged.

use super::cache_version::CacheVersions;
use super::checkpoint::CheckpointErrors;
use super::error::{self, convert};
use super::file::DatabaseFile;
use super::{NAME, change_hook, data_version, sql};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_failpoint as failpoint;
use guestbook_storage::Durability;
use guestbook_storage::database::TableSettings;
use guestbook_storage::probe::LastProbe;
use guestbook_storage::worker::Poison;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::sync::Arc;

/// What the writing thread owns.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) durability: Durability,
    pub(super) checkpoints: CheckpointErrors,
    pub(super) settings: Arc<TableSettings>,
    pub(super) poison: Poison,
    pub(super) changed: change_hook::ChangedRows,
    /// Of conversations.
    pub(super) versions: CacheVersions,
    /// Of answers to prompts.
    pub(super) prompt_versions: CacheVersions,
    pub(super) outside: data_version::DataVersion,
    /// The last failure for want of room. Only a write that changes something shows that there is room again.
    pub(super) full: Option<Error>,
    /// Whether the file could be written when that was tried last.
    pub(super) probe: LastProbe,
    /// Last, so that it is let go of after the connection.
    pub(super) file: Arc<DatabaseFile>,
}

impl Writer {
    /// As [`Self::transact`], for what may be lost by a power cut: the commit does not wait for the disk. It is on disk with
    /// the next one that does, so what was answered as saved is as safe as ever.
    pub(super) fn transact_lightly<R>(
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

    pub(super) fn transact<R>(
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
        self.count_changed();
        let answer = done.map_err(|cause| self.failed(operation, cause))?;
        self.require_file()?;
        self.look_at_checkpoint()?;
        Ok(answer)
    }

    /// That what was just committed is in a file that will be there: what is in none must not be acknowledged.
    fn require_file(&self) -> Result<()> {
        let in_place = self.file.require_in_place();
        in_place.inspect_err(|cause| self.poison.set(cause.clone()))
    }

    /// Invalidates what is held in memory of rows that were changed, before the commit is acknowledged. If there was none, no harm
    /// is done.
    fn count_changed(&self) {
        let mut rows = self.changed.rows();
        self.prompt_versions.count(rows.prompts.drain(..));
        self.versions.count(rows.chats.drain(..));
    }

    /// Makes every commit so far outlive a power cut, where commits alone do not.
    pub(super) fn sync(&mut self) -> Result<()> {
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

    pub(super) fn failed(&mut self, operation: &'static str, cause: rusqlite::Error) -> Error {
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
    pub(super) fn empty_journal(&mut self) -> Result<()> {
        let done = self.connection.query_row(sql::CHECKPOINT, [], |_| Ok(()));
        done.map_err(|cause| self.failed("checkpoint", cause))
    }
}

impl Drop for Writer {
    /// Closing the connection moves the journal into the file and removes it by its name. Both SQLite leaves undone where its
    /// file has another path by now; a journal that alone was taken away is saved so.
    fn drop(&mut self) {
        self.file.close();
    }
}
