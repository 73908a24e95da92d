//! Opens a store that may be damaged, locked or inaccessible, and distinguishes these.
//!
//! Only a damaged store is replaced. A store that another process has open, or that may not be written, is an error for a person:
//! setting it aside would take it from its owner.

use super::aside::set_aside;
use super::fault::{NAME, SledFault, SledResult};
use super::lists::SledStore;
use guestbook_core::error::panic_text;
use guestbook_core::error::{Error, ErrorKind, Result};
use std::fs::{OpenOptions, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// sled's cache size. Its default is 1 GiB, and its real use is a multiple of this number.
const CACHE_BYTES: u64 = 16 << 20;
/// How long sled's I/O threads may keep the lock of a dropped store. They need milliseconds.
const RELEASE: Duration = Duration::from_secs(2);
const RELEASE_POLL: Duration = Duration::from_millis(1);

/// A store that was opened.
#[derive(Debug)]
pub(super) struct OpenedStore {
    pub(super) lists: SledStore,
    /// The new path of the damaged store found in its place.
    pub(super) set_aside: Option<PathBuf>,
}

/// A store that could not be opened.
#[derive(Debug)]
pub(super) struct OpenFailure {
    pub(super) cause: Error,
    /// A damaged store was set aside, and the new one fails as well.
    pub(super) after_setting_aside: bool,
}

/// Opens or creates the store; a damaged one is set aside and replaced by an empty one.
pub(super) fn open(path: &Path) -> std::result::Result<OpenedStore, OpenFailure> {
    let not_opened = |cause| OpenFailure {
        cause,
        after_setting_aside: false,
    };
    if is_misshapen(path) {
        let context =
            "the list store is damaged: something else is in the place of one of its files";
        return begin_anew(path, &Error::new(ErrorKind::Corrupt, NAME, "open", context));
    }
    check_place(path).map_err(not_opened)?;
    let fault = match attempt(path) {
        Ok(lists) => {
            return Ok(OpenedStore {
                lists,
                set_aside: None,
            });
        }
        Err(fault) => fault,
    };
    let damaged = fault.is_damage();
    let error = located(path, fault);
    if !damaged {
        return Err(not_opened(error));
    }
    begin_anew(path, &error)
}

fn begin_anew(path: &Path, cause: &Error) -> std::result::Result<OpenedStore, OpenFailure> {
    let moved = set_aside(path, cause).map_err(|cause| OpenFailure {
        cause,
        after_setting_aside: false,
    })?;
    let lists = attempt(path).map_err(|fault| OpenFailure {
        cause: located(path, fault),
        after_setting_aside: true,
    })?;
    Ok(OpenedStore {
        lists,
        set_aside: Some(moved),
    })
}

/// The failure with its path, which a person needs.
fn located(path: &Path, fault: SledFault) -> Error {
    let error = fault.into_error("open");
    let text = error.to_string();
    let what = text.strip_prefix("sled open: ").unwrap_or(&text);
    let context = format!("{}: {what}", path.display());
    Error::new(error.kind(), NAME, "open", context)
}

/// Runs `work`, converting a panic to a fault.
pub(super) fn caught<R>(work: impl FnOnce() -> SledResult<R>) -> SledResult<R> {
    let outcome = catch_unwind(AssertUnwindSafe(work));
    outcome.unwrap_or_else(|panic| Err(SledFault::Panic(panic_text(panic.as_ref()).to_owned())))
}

/// Drops a broken store on a separate thread: on drop sled writes what it still has, which may panic or, after a panic, block for
/// ever.
pub(super) fn abandon<T: Send + 'static>(broken: T) {
    let thread = std::thread::Builder::new().name("sled-abandoned".into());
    if let Err(cause) = thread.spawn(move || drop(broken)) {
        tracing::error!(%cause, "no thread to drop a broken list store on");
    }
}

/// Returns once a dropped store can be reopened: sled's I/O threads release its lock a little later.
pub(super) fn wait_until_free(path: &Path) {
    let since = Instant::now();
    while is_locked(path).unwrap_or(false) && since.elapsed() < RELEASE {
        std::thread::sleep(RELEASE_POLL);
    }
}

fn attempt(path: &Path) -> SledResult<SledStore> {
    // Without sled's flusher thread: it only logs a failed fsync, and after its panic a drop waits for it for ever.
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None);
    let held_data = path.join("db").metadata().is_ok_and(|file| file.len() > 0);
    let db = caught(|| Ok(config.open()?))?;
    if held_data && !db.was_recovered() {
        return Err(SledFault::Forgotten);
    }
    // The handle is kept outside, so that it is not dropped during unwinding: a second panic would abort the process.
    let lists = caught(|| SledStore::start(path, db.clone()));
    if lists.is_err() {
        abandon(db);
    }
    lists
}

/// Rejects paths that are unusable but not damaged, before sled touches anything: it reads its configuration before it takes its
/// lock, so a store in use could look damaged.
fn check_place(path: &Path) -> Result<()> {
    let refuse = |context: String| Err(Error::new(ErrorKind::Unavailable, NAME, "open", context));
    let shown = path.display();
    if path.is_file() {
        return refuse(format!(
            "{shown} is a file; the list store needs a directory, name another or move the file away"
        ));
    }
    match is_locked(path) {
        Ok(false) => Ok(()),
        Ok(true) => refuse(format!(
            "{shown} is open already; stop the other process or give this one its own directory"
        )),
        Err(cause) => Err(located(
            path,
            SledFault::Io("opening the list store failed", cause),
        )),
    }
}

/// Whether a folder or another non-file is where sled keeps a file. sled would report that as an I/O error.
fn is_misshapen(path: &Path) -> bool {
    let is_no_file = |name: &str| path.join(name).metadata().is_ok_and(|it| !it.is_file());
    ["db", "conf"].into_iter().any(is_no_file)
}

fn is_locked(path: &Path) -> io::Result<bool> {
    let data = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path.join("db"));
    match data {
        Ok(file) => match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(cause)) => Err(cause),
        },
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_folder_in_the_place_of_a_file_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists");
        drop(open(&path).unwrap());
        wait_until_free(&path);
        fs::remove_file(path.join("conf")).unwrap();
        fs::create_dir(path.join("conf")).unwrap();
        let opened = open(&path).unwrap();
        assert!(opened.set_aside.unwrap().join("conf").is_dir());
    }

    #[test]
    fn a_refusal_names_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists");
        std::os::unix::fs::symlink("/nowhere/at/all", &path).unwrap();
        let refused = open(&path).unwrap_err().cause.to_string();
        assert!(refused.contains(path.to_str().unwrap()), "{refused}");
    }
}
