//! Integrity check of the file: after a stop that was not clean, of every backup that is made, and of every one that is
//! restored.
//!
//! SQLite's quick check reads every page and follows every tree: it finds pages that are torn, swapped or overwritten. It
//! does not know what a message said; the hash chain does, and `guestbook verify` follows it.

use super::atomic_file::beside;
use super::error::{convert, convert_at, is_fatal};
use super::{NAME, open, sql};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::rounded_ms;
use guestbook_storage::worker::{Poison, spawn_essential};
use rusqlite::{Connection, ErrorCode};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

const CHECK: &str = "check";
/// Up to this size the file is checked before anything is served: a quarter of a second, measured in a build that is not
/// optimized and on two cores that others use as well. A larger one is checked while serving.
const CHECKED_FIRST: u64 = 64 << 20; // bytes
/// Instructions of SQLite's machine between two looks at whether to stop: a few milliseconds.
const STOP_LOOKED_AT: i32 = 10_000;

/// Ends work on another thread when it is asked to.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks whoever works to give up.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is known of the file before it is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FileState {
    /// The last process closed it.
    Clean,
    /// The last process was ended in the middle: its write-ahead log is still there.
    Unclean,
    /// It was found damaged, and no repair was noted since.
    Damaged,
}

impl FileState {
    /// Must be checked before the file is opened, which takes in the write-ahead log.
    pub(super) fn of(path: &Path) -> Self {
        let log = std::fs::metadata(beside(path, "-wal"));
        if mark(path).exists() {
            Self::Damaged
        } else if log.is_ok_and(|log| log.len() > 0) {
            Self::Unclean
        } else {
            Self::Clean
        }
    }

    /// Checks the file now unless it may be checked later; whether it has to be.
    pub(super) fn check_now(self, path: &Path, connection: &mut Connection) -> Result<bool> {
        let size: u64 = connection
            .query_row(sql::SIZE, [], |row| row.get(0))
            .map_err(convert_at(CHECK, path))?;
        match self {
            Self::Clean => Ok(false),
            Self::Unclean if size > CHECKED_FIRST => Ok(true),
            Self::Unclean | Self::Damaged => {
                let began = Instant::now();
                quick_check(connection, &StopFlag::default()).inspect_err(|cause| {
                    if cause.kind() == ErrorKind::Corrupt {
                        distrust(path, cause);
                    }
                })?;
                tracing::info!(
                    bytes = size,
                    took_ms = rounded_ms(began.elapsed()),
                    "the last stop was not clean: the database was checked, it is whole"
                );
                // One that stays has the file checked once more.
                let _ = std::fs::remove_file(mark(path));
                Ok(false)
            }
        }
    }
}

/// Has the file checked at the next start, before anything is served: it was found damaged, and closing it has taken away
/// every other trace of that.
pub(super) fn distrust(path: &Path, cause: &Error) {
    if let Err(failed) = std::fs::write(mark(path), format!("{cause}\n")) {
        tracing::error!(cause = %failed, "that the database is damaged could not be noted beside it");
    }
}

fn mark(path: &Path) -> PathBuf {
    beside(path, "-damaged")
}

/// Reads the whole file.
///
/// # Errors
/// `Corrupt` with the first thing that is wrong; `Unavailable` when it was stopped.
pub(super) fn quick_check(connection: &mut Connection, stop: &StopFlag) -> Result<()> {
    let asked = stop.clone();
    connection
        .progress_handler(STOP_LOOKED_AT, Some(move || asked.is_asked()))
        .map_err(convert(CHECK))?;
    let found = connection.query_row(sql::QUICK_CHECK, [], |row| row.get::<_, String>(0));
    connection
        .progress_handler(0, None::<fn() -> bool>)
        .map_err(convert(CHECK))?;
    match found {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(verdict) => Err(damaged(&verdict)),
        Err(cause) if is_fatal(&cause) => Err(damaged(&cause.to_string())),
        Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Err(stopped(CHECK))
        }
        Err(cause) => Err(convert(CHECK)(cause)),
    }
}

/// That somebody asked for it to be given up.
pub(super) fn stopped(operation: &'static str) -> Error {
    let context = "it was stopped, as asked; nothing is left of it";
    Error::new(ErrorKind::Unavailable, NAME, operation, context)
}

fn damaged(verdict: &str) -> Error {
    let verdict: Vec<_> = verdict.lines().collect();
    let context = format!(
        "the database file is damaged; restore a backup with `guestbook restore`: {}",
        verdict.join(" ")
    );
    Error::new(ErrorKind::Corrupt, NAME, CHECK, context)
}

/// A check on a thread of its own, with a connection of its own.
#[derive(Debug)]
pub(super) struct BackgroundCheck {
    stop: StopFlag,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl BackgroundCheck {
    /// Begins to check the file; damage poisons the store.
    pub(super) fn start(path: &Path, poison: Poison) -> Result<Self> {
        let (mut connection, stop) = (open::reader(path)?, StopFlag::default());
        let (asked, held) = (stop.clone(), poison.clone());
        let check = move || {
            tracing::info!("the last stop was not clean: the database is being checked");
            let began = Instant::now();
            match quick_check(&mut connection, &asked) {
                Ok(()) => {
                    tracing::info!(
                        took_ms = rounded_ms(began.elapsed()),
                        "the database was checked, it is whole"
                    );
                }
                Err(cause) if cause.kind() == ErrorKind::Corrupt => poison.set(cause),
                Err(_) if asked.is_asked() => {}
                Err(cause) => tracing::error!(%cause, "the database could not be checked"),
            }
        };
        let thread = spawn_essential("sqlite-check".into(), NAME, held, check)?;
        Ok(Self {
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends it and waits until its connection is closed.
    pub(super) fn end(&self) {
        self.stop.ask();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            drop(thread.join());
        }
    }
}
