//! The one connection that writes: its transactions, and the checks between a commit and its acknowledgement.

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

/// The state of the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) durability: Durability,
    pub(super) checkpoints: CheckpointErrors,
    pub(super) settings: Arc<TableSettings>,
    pub(super) poison: Poison,
    pub(super) changed: change_hook::ChangedRows,
    /// Versions of the conversations.
    pub(super) versions: CacheVersions,
    /// Versions of the prompt cache entries.
    pub(super) prompt_versions: CacheVersions,
    pub(super) outside: data_version::DataVersion,
    /// The last failure for lack of space. Only a write that changes something shows that there is space again.
    pub(super) full: Option<Error>,
    /// The outcome of the last write probe.
    pub(super) probe: LastProbe,
    /// Last, so that it is released after the connection.
    pub(super) file: Arc<DatabaseFile>,
}

impl Writer {
    /// As [`Self::transact`], for what a power cut may lose: the commit does not wait for the disk. The next durable commit makes it
    /// durable too, so acknowledged messages are as safe as ever.
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
        let result = self.transact(operation, work);
        if let Err(cause) = self.connection.execute_batch(sql::SYNCHRONOUS_FULL) {
            let failure = self.failed(operation, cause);
            self.poison.set(failure); // durability is unknown: nothing more may be acknowledged
        }
        result
    }

    pub(super) fn transact<R>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>, &TableSettings) -> rusqlite::Result<R>,
    ) -> Result<R> {
        let run = |connection: &mut Connection, settings: &TableSettings| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction, settings)?;
            failpoint::reach("commit.before");
            transaction.commit()?;
            failpoint::reach("commit.after");
            Ok(result)
        };
        let done = run(&mut self.connection, &self.settings);
        self.count_changed();
        let result = done.map_err(|cause| self.failed(operation, cause))?;
        self.require_file()?;
        self.look_at_checkpoint()?;
        Ok(result)
    }

    /// Fails if the file committed to has lost its name: such a commit must not be acknowledged.
    fn require_file(&self) -> Result<()> {
        let in_place = self.file.require_in_place();
        in_place.inspect_err(|cause| self.poison.set(cause.clone()))
    }

    /// Invalidates cached rows that were changed, before the commit is acknowledged. Harmless if there was no commit.
    fn count_changed(&self) {
        let mut rows = self.changed.rows();
        self.prompt_versions.count(rows.prompts.drain(..));
        self.versions.count(rows.chats.drain(..));
    }

    /// Makes every commit so far survive a power cut, where commits alone do not.
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

    /// A failed checkpoint does not endanger the commit, which is safe in the journal. But after a failed fsync nothing more is
    /// acknowledged, beginning with this commit: its client gets an unknown outcome.
    fn look_at_checkpoint(&mut self) -> Result<()> {
        let Some(cause) = self.checkpoints.take_failure() else {
            return Ok(());
        };
        let failure = self.failed("checkpoint", cause);
        self.poison.check()?;
        tracing::warn!(cause = %failure, "checkpoint failed; the journal grows until one succeeds");
        Ok(())
    }

    /// The last checkpoint. SQLite would run it when the connection is closed, and swallow its errors.
    pub(super) fn empty_journal(&mut self) -> Result<()> {
        let done = self.connection.query_row(sql::CHECKPOINT, [], |_| Ok(()));
        done.map_err(|cause| self.failed("checkpoint", cause))
    }
}

impl Drop for Writer {
    /// Closing the connection checkpoints the journal and removes it by its name. SQLite does neither if its file has another path
    /// by now; a journal that alone was removed is saved so.
    fn drop(&mut self) {
        self.file.close();
    }
}
