//! The identity of the database file: one process writes it, whatever its path, and the path must keep leading to it.
//!
//! A file may have several names: by links, by mounts, by another spelling of its folder. So the file itself is locked, and its
//! path is watched. A commit to a file that has lost its name would be acknowledged and lost with the process.
//!
//! **Invariant:** the descriptor here is opened before SQLite opens the file and closed after it. Closing any descriptor of a
//! file drops all POSIX locks that the process has on it, and SQLite's are of that kind. For the same reason the file is
//! watched by its path. The lock here is a `flock`, which is independent of SQLite's locks.

use super::NAME;
use super::atomic_file::{COMPANIONS, beside};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_storage::path::advice;
use guestbook_storage::path::parent;
use guestbook_storage::private::tighten;
use rustix::fs::OFlags;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

const OPEN: &str = "open";
const OTHER: &str = "is another file than the one that was opened";
/// How long the threads of a dropped database may hold its file. They need milliseconds.
const RELEASE: Duration = Duration::from_secs(2);
const RELEASE_POLL: Duration = Duration::from_millis(1);
/// File systems on which `flock` conflicts with SQLite's own locks: NFS, SMB, CIFS, AFS.
const NETWORKED: [u32; 5] = [0x6969, 0xFE53_4D42, 0xFF53_4D42, 0x517B, 0x5346_414F];

/// The database file, locked until this is dropped.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    /// The canonical path, so that no link can redirect it later.
    path: PathBuf,
    opened: File,
    identity: Identity,
    /// The write-ahead log and its index, while the database is open.
    companions: OnceLock<Vec<(PathBuf, Identity)>>,
    /// SQLite removes them when it closes the database.
    is_closing: AtomicBool,
    /// Why the file is suspect, though nothing is lost yet.
    suspect: Mutex<Option<Error>>,
}

/// A file's identity, whatever its name: device and inode.
type Identity = (u64, u64);

fn identity(found: &Metadata) -> Identity {
    (found.dev(), found.ino())
}

impl DatabaseFile {
    /// Opens and locks the file; creates it if missing.
    pub(super) fn take(path: &Path, may_be_read_only: bool) -> Result<Self> {
        let path = canonical(path)?;
        let opened = open(&path, may_be_read_only).map_err(|cause| unopened(&path, &cause))?;
        let found = opened.metadata().map_err(|cause| unopened(&path, &cause))?;
        if !found.is_file() {
            let context = format!("{} is no file; name one", path.display());
            return Err(Error::new(ErrorKind::Invalid, NAME, OPEN, context));
        }
        lock(&opened, &path)?;
        let file = Self {
            path,
            opened,
            identity: identity(&found),
            companions: OnceLock::new(),
            is_closing: AtomicBool::new(false),
            suspect: Mutex::new(None),
        };
        file.require_in_place()?;
        file.require_one_name()?;
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it and the files beside it private.
    pub(super) fn keep_private(&self) {
        tighten(std::iter::once(self.path.clone()).chain(companions(&self.path)));
    }

    /// Watches its write-ahead log too: SQLite holds it open until it closes the database.
    pub(super) fn watch_companions(&self) {
        let open = companions(&self.path).into_iter().take(2);
        let found = open.filter_map(|path| {
            let found = path.metadata().ok()?;
            Some((path, identity(&found)))
        });
        // Called once, when the database has been opened.
        let _ = self.companions.set(found.collect());
    }

    /// Fails once the path no longer leads to the file: writes to it would be lost.
    pub(super) fn require_in_place(&self) -> Result<()> {
        match self.path.metadata() {
            Ok(found) if self.is(&found) => Ok(()),
            Ok(_) => Err(gone(&self.path, OTHER)),
            Err(cause) => lost(&self.path, &cause),
        }
    }

    /// As [`Self::require_in_place`], also for the files beside it; records whether it has more than one name.
    pub(super) fn inspect(&self) -> Result<()> {
        self.require_in_place()?;
        let companions = self.require_companions();
        // Read after the check, because the flag is set before SQLite removes them.
        if !self.is_closing.load(Ordering::SeqCst) {
            companions?;
        }
        self.note_names();
        Ok(())
    }

    /// From now on SQLite may remove its log.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
    }

    fn require_companions(&self) -> Result<()> {
        for (path, opened) in self.companions.get().into_iter().flatten() {
            match path.metadata() {
                Ok(found) if identity(&found) == *opened => {}
                Ok(_) => return Err(gone(path, OTHER)),
                Err(cause) => lost(path, &cause)?,
            }
        }
        Ok(())
    }

    /// Fails while the file is suspect: it has another name than the one it was opened by.
    pub(super) fn require_unsuspected(&self) -> Result<()> {
        let suspect = self.suspect.lock().unwrap_or_else(PoisonError::into_inner);
        suspect.clone().map_or(Ok(()), Err)
    }

    /// Some file systems change a file's inode number at times: then the open file has the new one as well.
    fn is(&self, found: &Metadata) -> bool {
        let opened = || self.opened.metadata();
        identity(found) == self.identity
            || opened().is_ok_and(|opened| identity(&opened) == identity(found))
    }

    fn require_one_name(&self) -> Result<()> {
        let found = self.opened.metadata();
        let names = found.map_err(|cause| unopened(&self.path, &cause))?.nlink();
        match names {
            0 | 1 => Ok(()),
            _ => Err(self.has_names(names)),
        }
    }

    fn note_names(&self) {
        let now = self.require_one_name().err();
        let mut suspect = self.suspect.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*suspect, &now) {
            (None, Some(cause)) => {
                tracing::error!(%cause, "the database file got another name while it is served; this server is not ready until that name is removed");
            }
            (Some(_), None) => tracing::info!("the database file has one name again"),
            _ => {}
        }
        *suspect = now;
    }

    fn has_names(&self, names: u64) -> Error {
        let shown = self.path.display();
        let context = format!(
            "{shown} has {names} names (hard links), and SQLite keeps a journal for each: two programs could damage it; remove the \
             other names, which `find DISK -samefile {shown}` finds, or serve a copy"
        );
        Error::new(ErrorKind::Unavailable, NAME, OPEN, context)
    }
}

/// Why a file cannot be opened, determined without opening it: SQLite gives no cause.
pub(super) fn obstacle(path: &Path) -> Option<io::Error> {
    use rustix::fs::{Access, access};
    // Tests for the descriptor limit, on a file that is no database.
    File::open("/dev/null").err().or_else(|| {
        let looked_at = path.metadata().map(drop);
        let read = || access(path, Access::READ_OK).map_err(io::Error::from);
        let made = || access(parent(path), Access::WRITE_OK | Access::EXEC_OK);
        looked_at
            .and_then(|()| read())
            .and_then(|()| made().map_err(io::Error::from))
            .err()
    })
}

/// The path without links; for a missing file, within its canonical folder.
pub(super) fn canonical(path: &Path) -> Result<PathBuf> {
    let found = match path.canonicalize() {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => match path.symlink_metadata() {
            Ok(_) => {
                let context = format!(
                    "{} is a link that leads nowhere; remove it, or put back what it leads to",
                    path.display()
                );
                return Err(Error::new(ErrorKind::Unavailable, NAME, OPEN, context));
            }
            Err(_) => parent(path)
                .canonicalize()
                .map(|folder| folder.join(path.file_name().unwrap_or_default())),
        },
        found => found,
    };
    found.map_err(|cause| unopened(path, &cause))
}

/// The error when the file cannot be opened.
pub(super) fn unopened(path: &Path, cause: &io::Error) -> Error {
    let kind = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        _ => ErrorKind::Unavailable,
    };
    let context = format!(
        "{} cannot be opened: {cause}; {}",
        path.display(),
        advice(cause)
    );
    Error::new(kind, NAME, OPEN, context)
}

fn companions(path: &Path) -> Vec<PathBuf> {
    COMPANIONS
        .iter()
        .map(|ending| beside(path, ending))
        .collect()
}

fn open(path: &Path, may_be_read_only: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    options.read(true).mode(0o600).custom_flags(flags);
    let opened = options
        .clone()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    match opened {
        Err(cause)
            if may_be_read_only
                && matches!(
                    cause.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
        {
            options.open(path)
        }
        opened => opened,
    }
}

/// On systems other than Linux, `flock` and POSIX locks exclude each other.
fn lock(opened: &File, path: &Path) -> Result<()> {
    if cfg!(not(target_os = "linux")) || is_networked(opened, path) {
        return Ok(());
    }
    let since = Instant::now();
    loop {
        match opened.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if since.elapsed() < RELEASE => {
                std::thread::sleep(RELEASE_POLL);
            }
            Err(TryLockError::WouldBlock) => {
                let context = format!(
                    "{} is in use by another guestbook, perhaps under another name of it (a link, a mount); stop that one first, \
                     or use another --data-dir",
                    path.display()
                );
                return Err(Error::new(ErrorKind::Unavailable, NAME, OPEN, context));
            }
            Err(TryLockError::Error(cause)) => return Err(unopened(path, &cause)),
        }
    }
}

fn is_networked(opened: &File, path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        let kind = rustix::fs::fstatfs(opened).map(|found| found.f_type as u32);
        let is_networked = kind.is_ok_and(|kind| NETWORKED.contains(&kind));
        if is_networked {
            tracing::warn!(file = %path.display(), "the database is on a network file system, whose locks SQLite cannot rely on: nothing keeps another machine from serving it too; use a disk of this machine");
        }
        return is_networked;
    }
    #[allow(unreachable_code)] // on Linux
    false
}

fn lost(path: &Path, cause: &io::Error) -> Result<()> {
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Err(gone(path, "is not there any more"))
        }
        _ => Ok(()), // unknown; a failing disk shows in other ways
    }
}

fn gone(path: &Path, what: &str) -> Error {
    let context = format!(
        "{} {what}: it or its folder was removed, renamed or replaced while it was served; put it back, or restore a backup \
         with `guestbook restore`",
        path.display()
    );
    Error::new(ErrorKind::Unavailable, NAME, "watch", context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_once_and_by_its_own_path() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a.db"), folder.path().join("b.db"));
        let nowhere = folder.path().join("c.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::os::unix::fs::symlink("/none/at/all", &nowhere).unwrap();
        let refused = |path: &Path| DatabaseFile::take(path, false).unwrap_err();
        assert!(refused(&link).context().contains("leads nowhere"));
        assert!(refused(&nowhere).context().contains("leads nowhere"));
        let file = DatabaseFile::take(&path, false).unwrap();
        assert!(refused(&link).context().contains("in use"));
        drop(file);
        let file = DatabaseFile::take(&link, false).unwrap();
        assert_eq!(file.path(), path.canonicalize().unwrap());
    }

    #[test]
    fn a_file_must_stay_and_have_one_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.db"), folder.path().join("b.db"));
        let file = DatabaseFile::take(&path, false).unwrap();
        file.inspect().unwrap();
        std::fs::hard_link(&path, &other).unwrap();
        file.inspect().unwrap();
        let suspect = file.require_unsuspected().unwrap_err();
        assert!(suspect.context().contains("2 names"), "{suspect}");
        std::fs::remove_file(&path).unwrap();
        let gone = file.require_in_place().unwrap_err();
        assert!(gone.context().contains("not there any more"), "{gone}");
        std::fs::write(&path, "").unwrap();
        let gone = file.require_in_place().unwrap_err();
        assert!(gone.context().contains("another file"), "{gone}");
        std::fs::rename(&other, &path).unwrap();
        file.inspect().unwrap();
        file.require_unsuspected().unwrap();
    }

    #[test]
    fn what_is_beside_it_must_stay_until_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        std::fs::write(beside(&path, "-wal"), "").unwrap();
        let file = DatabaseFile::take(&path, false).unwrap();
        file.watch_companions();
        std::fs::remove_file(beside(&path, "-wal")).unwrap();
        let gone = file.inspect().unwrap_err();
        assert!(gone.context().contains("a.db-wal"), "{gone}");
        file.close();
        file.inspect().unwrap();
    }
}
