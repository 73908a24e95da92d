//! Atomic file creation: the file is written in a private folder beside its target, made durable, then renamed.
//!
//! A crash before the rename leaves no file of the target's name, and the next attempt removes the leftovers. The folder is
//! `.NAME.RANDOM.partial`: its name cannot be guessed, so nobody can replace it beforehand, and only its owner can afterwards.
//! SQLite opens files by path and follows links, so the file that it opened is compared with the file created here.

use super::NAME;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_storage::path::advice;
use guestbook_storage::path::parent;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Suffixes of the files that SQLite may keep beside a database.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
const ENDING: &str = ".partial";
/// The file's name in the folder.
const INNER: &str = "copy.db";

/// A path with a suffix appended to its file name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A file that does not have its final name yet. Dropping it removes it.
#[derive(Debug)]
pub(super) struct AtomicFile {
    operation: &'static str,
    target: PathBuf,
    folder: Folder,
    path: PathBuf,
    file: File,
}

/// Our private folder, locked, so that nobody takes it for a leftover.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    open: File,
    /// Whether dropping this removes the folder.
    is_ours_to_remove: bool,
}

impl AtomicFile {
    /// Creates a file that will become `target`, which must not exist.
    pub(super) fn begin(operation: &'static str, target: &Path) -> Result<Self> {
        refuse_existing(operation, target)?;
        if let Some(other) = remove_leftovers(target) {
            let (target, other) = (target.display(), other.display());
            let context = format!("{target} is being written by another process, in {other}");
            return Err(Error::new(ErrorKind::Busy, NAME, operation, context));
        }
        let unmakable = |cause| unmakable(operation, target, cause);
        let folder = Folder::make(target).map_err(unmakable)?;
        let file = folder.make_file().map_err(unmakable)?;
        Ok(Self {
            operation,
            target: target.to_owned(),
            path: folder.path.join(INNER),
            folder,
            file,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Fails unless its path still leads to the file created here.
    pub(super) fn require_ours(&self) -> Result<()> {
        let (ours, named) = (self.file.metadata(), self.path.symlink_metadata());
        let is_ours = matches!((&ours, &named), (Ok(ours), Ok(named))
            if (ours.dev(), ours.ino()) == (named.dev(), named.ino()));
        if is_ours {
            return Ok(());
        }
        let context = format!(
            "somebody has put another file in the place of {}; choose a folder that nobody else can write",
            self.path.display()
        );
        Err(Error::new(
            ErrorKind::Unavailable,
            NAME,
            self.operation,
            context,
        ))
    }

    /// Makes it durable and renames it. Nobody may have it open any more.
    pub(super) fn finish(self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|cause| self.unwritable(cause))?;
        self.require_ours()?;
        match self.folder.give_name(&self.target) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(existing(self.operation, &self.target)),
            Err(cause) => return Err(self.unwritable(cause.into())),
        }
        let durable = File::open(parent(&self.target)).and_then(|folder| folder.sync_all());
        durable.map_err(|cause| {
            // A power cut may undo a rename that was not synced, so the name is removed; the first failure is reported.
            let _ = std::fs::remove_file(&self.target);
            self.unwritable(cause)
        })
    }

    /// The error when it cannot be written.
    pub(super) fn unwritable(&self, cause: io::Error) -> Error {
        let target = self.target.display();
        let (kind, context) = match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (
                ErrorKind::Full,
                format!("the disk has no room for {target}; free some, or choose another folder"),
            ),
            _ => (
                ErrorKind::Unavailable,
                format!("{target} cannot be written"),
            ),
        };
        Error::caused(kind, NAME, self.operation, context, cause)
    }
}

impl Folder {
    fn make(target: &Path) -> io::Result<Self> {
        let (hidden, random) = (hidden(target), Uuid::new_v4().simple());
        let path = parent(target).join(format!("{hidden}{random}{ENDING}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        let mut folder = Self::open(path)?;
        folder.is_ours_to_remove = true;
        match folder.open.try_lock() {
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
            // Some network file systems cannot lock folders. There, leftovers of a killed process are not removed.
            _ => Ok(folder),
        }
    }

    /// Opens a private folder.
    fn open(path: PathBuf) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits().cast_signed());
        let open = options.open(&path)?;
        let found = open.metadata()?;
        if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Self {
            path,
            open,
            is_ours_to_remove: false,
        })
    }

    fn make_file(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR; // it holds what guests said
        Ok(rustix::fs::openat(&self.open, INNER, flags | OFlags::CLOEXEC, mode)?.into())
    }

    /// Renames the file in it to `target`, unless that exists.
    fn give_name(&self, target: &Path) -> rustix::io::Result<()> {
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.open, INNER, CWD, target, flags) {
            // Without an exclusive rename the file is hard-linked; the other name is removed with the folder.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::linkat(&self.open, INNER, CWD, target, AtFlags::empty())
            }
            named => named,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_ours_to_remove {
            return;
        }
        // A leftover blocks no later attempt and does not look whole. Only files that we may have created are removed, through
        // the open folder: its path may lead elsewhere by now.
        let _ = rustix::fs::unlinkat(&self.open, INNER, AtFlags::empty());
        for ending in COMPANIONS {
            let _ = rustix::fs::unlinkat(&self.open, format!("{INNER}{ending}"), AtFlags::empty());
        }
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Removes leftovers of killed processes for this file; returns a folder that is still being written, if any.
pub(super) fn remove_leftovers(target: &Path) -> Option<PathBuf> {
    let hidden = hidden(target);
    let entries = std::fs::read_dir(parent(target)).ok()?;
    let is_leftover = |name: &str| {
        let middle = name.strip_prefix(&hidden)?.strip_suffix(ENDING)?;
        Uuid::try_parse(middle).ok()
    };
    let ours = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_str().and_then(is_leftover).is_some()
    });
    for mut folder in ours.flat_map(|entry| Folder::open(entry.path())) {
        match folder.open.try_lock() {
            Ok(()) => folder.is_ours_to_remove = true,
            Err(TryLockError::WouldBlock) => return Some(folder.path.clone()),
            Err(TryLockError::Error(_)) => {} // whether another process writes it is not known
        }
    }
    None
}

/// The prefix of this file's folder names.
fn hidden(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default();
    format!(".{}.", name.to_string_lossy())
}

fn refuse_existing(operation: &'static str, target: &Path) -> Result<()> {
    // Also true for a dangling link.
    match target.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(_) => Err(existing(operation, target)),
    }
}

fn existing(operation: &'static str, target: &Path) -> Error {
    let context = format!(
        "{} is there already, and nothing is written over; choose another name, or move it away",
        target.display()
    );
    Error::new(ErrorKind::Conflict, NAME, operation, context)
}

fn unmakable(operation: &'static str, target: &Path, cause: io::Error) -> Error {
    let (is_there, folder) = (parent(target).is_dir(), parent(target).display());
    let context = match cause.kind() {
        io::ErrorKind::NotFound if is_there => {
            format!("no file can be made in {folder}; choose another folder")
        }
        io::ErrorKind::NotFound => format!("there is no folder {folder}; make it first"),
        io::ErrorKind::NotADirectory => format!("{folder} is no folder; choose another"),
        io::ErrorKind::StorageFull => {
            format!("the disk has no room in {folder}; free some, or choose another folder")
        }
        _ => format!("no file can be made in {folder}; {}", advice(&cause)),
    };
    Error::caused(ErrorKind::Unavailable, NAME, operation, context, cause)
}
