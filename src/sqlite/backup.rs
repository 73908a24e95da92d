//! Backup: a copy of the tables in one file, made while a server writes; and restore.
//!
//! SQLite copies page by page within one read transaction: the copy is a snapshot, and a writer neither waits nor restarts it,
//! as it would if each step read the file anew. (Meanwhile the write-ahead log cannot be truncated.) The session lists are not
//! in a backup: they are derived.
//!
//! A restored database gets a new epoch and forgets its list store, so that lists of any other history are rebuilt and never
//! continued.

use super::atomic_file::{AtomicFile, COMPANIONS, beside};
use super::check::{StopFlag, quick_check, stopped};
use super::error::{convert, convert_at};
use super::{NAME, open, sql};
use guestbook_core::error::{Error, ErrorKind, Result};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, params};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use uuid::Uuid;

const SAVE: &str = "backup";
const RESTORE: &str = "restore";
/// Pages between two checks of the stop flag and two progress reports: 4 MiB.
const STEP_PAGES: i32 = 1024;
const STEP_BYTES: usize = 4 << 20;
/// The header of every SQLite file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The progress of a copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CopyProgress {
    /// Bytes copied, and their total.
    Copying {
        /// Copied so far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// Everything is copied and is being checked.
    Checking,
}

/// The observer of a copy.
pub struct CopyObserver {
    /// Called for each step.
    pub report: Box<dyn FnMut(CopyProgress) + Send>,
    /// Cancels the copy, which is then removed.
    pub stop: StopFlag,
}

/// The content of a copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CopySummary {
    /// Messages.
    pub messages: u64,
    /// Conversations, of guests and users.
    pub conversations: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// Copies the database to `target`, also while a server uses it. `target` appears only once it is whole and durable.
///
/// # Errors
/// `Conflict` if `target` exists, `Full`, `Corrupt` if the copy fails SQLite's quick check.
pub fn save(database: &Path, target: &Path, watch: &mut CopyObserver) -> Result<CopySummary> {
    let mut from = open::visitor(database)?;
    require_ours(SAVE, database, &from)?;
    let partial = AtomicFile::begin(SAVE, target)?;
    let mut to = connect(&partial, SAVE)?;
    copy(&mut from, &mut to, &partial, watch)?;
    drop(from); // the write-ahead log need not wait for the check
    let copied = finish_copy(to, &partial, watch, SAVE)?;
    partial.finish()?;
    Ok(copied)
}

/// Creates `database`, which must not exist, from a backup, which is only read.
///
/// # Errors
/// `Conflict` if a database exists, `Invalid` if `backup` is no whole Guestbook database, `Unsupported` if a newer version
/// wrote it, `Corrupt` if it fails SQLite's quick check, `Full`.
pub fn restore(backup: &Path, database: &Path, watch: &mut CopyObserver) -> Result<CopySummary> {
    refuse_database(database)?;
    let mut from = open_backup(backup)?;
    let partial = AtomicFile::begin(RESTORE, database)?;
    copy_bytes(&mut from, &partial, backup, watch)?;
    require_alone(backup)?;
    let mut to = connect(&partial, RESTORE)?;
    require_ours(RESTORE, backup, &to)?;
    open::require_known(&mut to)?;
    begin_anew(&mut to).map_err(convert_at(RESTORE, database))?;
    let copied = finish_copy(to, &partial, watch, RESTORE)?;
    partial.finish()?;
    Ok(copied)
}

/// Opens a private file that is thrown away on any failure: it needs no journal, and is made durable once, at the end.
fn connect(partial: &AtomicFile, operation: &'static str) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open::connect(operation, partial.path(), flags)?;
    partial.require_ours()?;
    connection
        .execute_batch(sql::COPY_PRAGMAS)
        .map_err(convert_at(operation, partial.path()))?;
    Ok(connection)
}

fn copy(
    from: &mut Connection,
    to: &mut Connection,
    partial: &AtomicFile,
    watch: &mut CopyObserver,
) -> Result<()> {
    let moment = from.transaction().map_err(convert(SAVE))?;
    let page: u64 = moment
        .query_row(sql::PAGE_SIZE, [], |row| row.get(0)) // reading begins the transaction
        .map_err(convert(SAVE))?;
    let backup = Backup::new(&moment, to).map_err(convert_at(SAVE, partial.path()))?;
    loop {
        let step = backup.step(STEP_PAGES);
        let step = step.map_err(convert_at(SAVE, partial.path()))?;
        let progress = backup.progress();
        let bytes = |pages: i32| u64::try_from(pages).unwrap_or_default() * page;
        let total = bytes(progress.pagecount);
        (watch.report)(CopyProgress::Copying {
            done: total - bytes(progress.remaining),
            total,
        });
        match step {
            StepResult::Done => return Ok(()),
            _ if watch.stop.is_asked() => return Err(stopped(SAVE)),
            StepResult::More => {}
            _ => {
                let context = format!("another program has opened {}", partial.path().display());
                return Err(Error::new(ErrorKind::Busy, NAME, SAVE, context));
            }
        }
    }
}

fn copy_bytes(
    from: &mut File,
    partial: &AtomicFile,
    backup: &Path,
    watch: &mut CopyObserver,
) -> Result<()> {
    let unread = |cause| unreadable(backup, cause);
    let total = from.metadata().map_err(unread)?.len();
    let (mut buffer, mut done) = (vec![0; STEP_BYTES], 0);
    loop {
        let count = from.read(&mut buffer).map_err(unread)?;
        if count == 0 {
            return Ok(());
        }
        partial
            .file()
            .write_all(&buffer[..count])
            .map_err(|cause| partial.unwritable(cause))?;
        done += count as u64;
        (watch.report)(CopyProgress::Copying { done, total });
        if watch.stop.is_asked() {
            return Err(stopped(RESTORE));
        }
    }
}

/// Starts a new history: a new epoch, and no known list store.
fn begin_anew(to: &mut Connection) -> rusqlite::Result<()> {
    let transaction = to.transaction()?;
    let epoch = Uuid::new_v4().to_string();
    transaction.execute(sql::META_PUT, params!["store_epoch", epoch])?;
    transaction.execute(sql::META_DELETE, ["lists_incarnation"])?;
    transaction.commit()
}

/// Checks the copy and closes it as one plain file, without a write-ahead log.
fn finish_copy(
    mut to: Connection,
    partial: &AtomicFile,
    watch: &mut CopyObserver,
    operation: &'static str,
) -> Result<CopySummary> {
    (watch.report)(CopyProgress::Checking);
    quick_check(&mut to, &watch.stop)?;
    let count = |statement| to.query_row(statement, [], |row| row.get::<_, u64>(0));
    let run = || {
        let counts = (
            count(sql::MESSAGES_COUNT)?,
            count(sql::CONVERSATIONS_COUNT)?,
        );
        to.execute_batch(sql::PLAIN_FILE)?;
        Ok(counts)
    };
    let (messages, conversations) = run().map_err(convert_at(operation, partial.path()))?;
    to.close()
        .map_err(|(_, cause)| convert_at(operation, partial.path())(cause))?;
    let found = partial.file().metadata();
    Ok(CopySummary {
        messages,
        conversations,
        bytes: found.map_err(|cause| partial.unwritable(cause))?.len(),
    })
}

/// Fails unless its tables are Guestbook's.
fn require_ours(operation: &'static str, path: &Path, connection: &Connection) -> Result<()> {
    let ours: bool = connection
        .query_row(sql::IS_OURS, [], |row| row.get(0))
        .map_err(convert_at(operation, path))?;
    if ours {
        return Ok(());
    }
    let context = format!("{} is the database of another program", path.display());
    Err(Error::new(ErrorKind::Invalid, NAME, operation, context))
}

/// Files beside a database count too: SQLite would take them for a part of the restored one.
fn refuse_database(database: &Path) -> Result<()> {
    let there = |ending: &&str| beside(database, ending).symlink_metadata().is_ok();
    let found = [""].iter().chain(&COMPANIONS).find(|ending| there(ending));
    let Some(ending) = found else { return Ok(()) };
    let context = format!(
        "{} is there already, and nothing is written over: restore into another --data-dir, or move it and what begins \
         with its name away first",
        beside(database, ending).display()
    );
    Err(Error::new(ErrorKind::Conflict, NAME, RESTORE, context))
}

fn open_backup(backup: &Path) -> Result<File> {
    let invalid = |context: String| Error::new(ErrorKind::Invalid, NAME, RESTORE, context);
    let found = std::fs::metadata(backup).map_err(|cause| unreadable(backup, cause))?;
    if !found.is_file() {
        // Opening a pipe would wait for its writer.
        let context = format!("{} is no regular file; give a backup", backup.display());
        return Err(invalid(context));
    }
    let mut file = File::open(backup).map_err(|cause| unreadable(backup, cause))?;
    let mut magic = [0; MAGIC.len()];
    let begins = file.read_exact(&mut magic);
    match begins {
        Ok(()) if &magic == MAGIC => {}
        Err(cause) if cause.kind() != io::ErrorKind::UnexpectedEof => {
            return Err(unreadable(backup, cause));
        }
        _ => {
            let context = format!("{} is no database; give a backup", backup.display());
            return Err(invalid(context));
        }
    }
    require_alone(backup)?;
    // Reopened to read from the start.
    File::open(backup).map_err(|cause| unreadable(backup, cause))
}

/// A backup is one file. A write-ahead log beside it means a database in use, or one that was not closed.
fn require_alone(backup: &Path) -> Result<()> {
    let beside = COMPANIONS.iter().map(|ending| beside(backup, ending));
    let Some(companion) = beside.into_iter().find(|path| path.exists()) else {
        return Ok(());
    };
    let context = format!(
        "{} is a database in use, or one that was not closed, for there is {}; make a backup of it with `guestbook backup`",
        backup.display(),
        companion.display()
    );
    Err(Error::new(ErrorKind::Invalid, NAME, RESTORE, context))
}

fn unreadable(backup: &Path, cause: io::Error) -> Error {
    let (kind, context) = match cause.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "there is no file"),
        _ => (ErrorKind::Unavailable, "it cannot be read:"),
    };
    let context = format!("{context} {}", backup.display());
    Error::caused(kind, NAME, RESTORE, context, cause)
}
