//! Integrity checks of the file: after an unclean stop, of every backup made, and of every backup restored.
//!
//! SQLite's quick check reads every page and follows every tree: it finds torn, swapped and overwritten pages. It cannot
//! check contents; the hash chain does, and `guestbook verify` follows it.

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
/// Up to this size the file is checked before it is served: a quarter of a second, measured in a build without optimizations on
/// two shared cores. A larger file is checked while it is served.
const CHECKED_FIRST: u64 = 64 << 20; // bytes
/// Virtual machine instructions between two checks of the stop flag: a few milliseconds.
const STOP_CHECK_INTERVAL: i32 = 10_000;

/// Cancels work on another thread.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Requests cancellation.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The file's state before it is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FileState {
    /// The last process closed it.
    Clean,
    /// The last process was killed: its write-ahead log is still there.
    Unclean,
    /// It was found damaged, and no repair was recorded since.
    Damaged,
}

impl FileState {
    /// Must be called before the file is opened, which replays the write-ahead log.
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

    /// Checks the file now unless it is large; returns whether a check is still due.
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
                    "the last stop was unclean: the database was checked and is intact"
                );
                // A mark that cannot be removed only causes another check.
                let _ = std::fs::remove_file(mark(path));
                Ok(false)
            }
        }
    }
}

/// Marks the file to be checked at the next start before it is served: it was found damaged, and closing it has removed every
/// other trace of that.
pub(super) fn distrust(path: &Path, cause: &Error) {
    if let Err(failed) = std::fs::write(mark(path), format!("{cause}\n")) {
        tracing::error!(cause = %failed, "failed to mark the database as damaged");
    }
}

fn mark(path: &Path) -> PathBuf {
    beside(path, "-damaged")
}

/// Reads the whole file.
///
/// # Errors
/// `Corrupt` with the first finding; `Unavailable` when it was cancelled.
pub(super) fn quick_check(connection: &mut Connection, stop: &StopFlag) -> Result<()> {
    let flag = stop.clone();
    connection
        .progress_handler(STOP_CHECK_INTERVAL, Some(move || flag.is_asked()))
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

/// The error of a cancelled operation.
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

/// A check on its own thread and connection.
#[derive(Debug)]
pub(super) struct BackgroundCheck {
    stop: StopFlag,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl BackgroundCheck {
    /// Starts the check; damage poisons the store.
    pub(super) fn start(path: &Path, poison: Poison) -> Result<Self> {
        let (mut connection, stop) = (open::reader(path)?, StopFlag::default());
        let (flag, on_panic) = (stop.clone(), poison.clone());
        let check = move || {
            tracing::info!("the last stop was unclean: checking the database");
            let began = Instant::now();
            match quick_check(&mut connection, &flag) {
                Ok(()) => {
                    tracing::info!(
                        took_ms = rounded_ms(began.elapsed()),
                        "the database was checked and is intact"
                    );
                }
                Err(cause) if cause.kind() == ErrorKind::Corrupt => poison.set(cause),
                Err(_) if flag.is_asked() => {}
                Err(cause) => tracing::error!(%cause, "the database could not be checked"),
            }
        };
        let thread = spawn_essential("sqlite-check".into(), NAME, on_panic, check)?;
        Ok(Self {
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Cancels it and waits until its connection is closed.
    pub(super) fn end(&self) {
        self.stop.ask();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            drop(thread.join());
        }
    }
}
