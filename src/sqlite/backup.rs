//! A copy of the tables in one file, made while a server writes, and the way back.
//!
//! SQLite copies page by page, within one read transaction that is open from the first page to the last: the copy is of the
//! moment it began, and a writer neither waits nor makes it begin anew, as it would if each step looked at the file afresh.
//! (Meanwhile the write-ahead log cannot be cut back; it is after that.) The lists are not in a backup: they are derived.
//!
//! A restored database gets a new epoch and forgets which list store it knew, so that lists of any other history, wherever
//! they are, are rebuilt and never continued.

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
/// Pages between two looks at whether to stop, and two words to whoever watches: 4 MiB.
const STEP_PAGES: i32 = 1024;
const STEP_BYTES: usize = 4 << 20;
/// What every SQLite file begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How far a copy is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CopyProgress {
    /// Bytes that are copied, of how many.
    Copying {
        /// Copied so far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// Everything is copied and is being checked.
    Checking,
}

/// Whoever watches a copy being made.
pub struct CopyObserver {
    /// Called at each step.
    pub report: Box<dyn FnMut(CopyProgress) + Send>,
    /// Ends it before its end; nothing is left of it then.
    pub stop: StopFlag,
}

/// What a copy holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CopySummary {
    /// Messages.
    pub messages: u64,
    /// Conversations, of guests and users.
    pub conversations: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// Copies the database to `target`, also while a server is using it. `target` is there only once it is whole and durable.
///
/// # Errors
/// `Conflict` when `target` is there already, `Full`, `Corrupt` when the copy does not pass SQLite's quick check.
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

/// Makes `database`, which must not be there, of a backup, which is only read.
///
/// # Errors
/// `Conflict` when there is a database already, `Invalid` when `backup` is no whole Guestbook database, `Unsupported` when
/// it is of a newer version, `Corrupt` when it does not pass SQLite's quick check, `Full`.
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

/// A connection to a file that nobody else has and that is thrown away when anything goes wrong: it needs no journal, and is
/// made durable in the end, once.
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

/// Another history begins here: no list knows its epoch, and no list store is known to it.
fn begin_anew(to: &mut Connection) -> rusqlite::Result<()> {
    let transaction = to.transaction()?;
    let epoch = Uuid::new_v4().to_string();
    transaction.execute(sql::META_PUT, params!["store_epoch", epoch])?;
    transaction.execute(sql::META_DELETE, ["lists_incarnation"])?;
    transaction.commit()
}

/// Checks what was copied and closes it: one plain file, without a write-ahead log.
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

/// That the tables in it are a Guestbook's.
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

/// Also what belongs to a database counts: it would be taken for a part of the restored one.
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
        // Opening a pipe waits for whoever writes to it.
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
    // From the start again.
    File::open(backup).map_err(|cause| unreadable(backup, cause))
}

/// A backup is one file. What has a write-ahead log beside it is a database in use, or one that was not closed.
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
