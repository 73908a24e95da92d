//! A file that gets its name only once it is whole: written beside it as `NAME.partial`, made durable, then renamed.
//!
//! Whatever ends the process on the way leaves no file of that name, and what it leaves is no hindrance to the next try.

use super::NAME;
use crate::error::{Error, ErrorKind, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What SQLite may keep beside a file.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A path with something added to its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A file on its way to its name. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Partial {
    operation: &'static str,
    target: PathBuf,
    path: PathBuf,
    /// Locked, so that two who write the same file do not mix it up.
    file: File,
    is_named: bool,
}

impl Partial {
    /// Begins a file that will be `target`, which must not be there.
    pub(super) fn begin(operation: &'static str, target: &Path) -> Result<Self> {
        refuse_existing(operation, target)?;
        let path = beside(target, ".partial");
        let file = open(&path).map_err(|cause| unmakable(operation, target, cause))?;
        let is_ours = match file.try_lock() {
            Ok(()) => is_named(&file, &path),
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(cause)) => return Err(unmakable(operation, target, cause)),
        };
        if !is_ours {
            let context = format!("{} is being written by another process", path.display());
            return Err(Error::new(ErrorKind::Busy, NAME, operation, context));
        }
        let partial = Self {
            operation,
            target: target.to_owned(),
            path,
            file,
            is_named: false,
        };
        partial.clear().map_err(|cause| partial.unwritable(cause))?;
        Ok(partial)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Makes it durable and gives it its name. Nobody may have it open any more.
    pub(super) fn finish(mut self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|cause| self.unwritable(cause))?;
        refuse_existing(self.operation, &self.target)?;
        std::fs::rename(&self.path, &self.target).map_err(|cause| self.unwritable(cause))?;
        self.is_named = true;
        let durable = File::open(folder(&self.target)).and_then(|folder| folder.sync_all());
        durable.map_err(|cause| {
            // A name that a power cut may take back is no name; the first failure is the one to tell.
            let _ = std::fs::remove_file(&self.target);
            self.unwritable(cause)
        })
    }

    /// That it cannot be written, and why.
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

    /// Empties what an earlier try may have left.
    fn clear(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        COMPANIONS.iter().try_for_each(|ending| {
            match std::fs::remove_file(beside(&self.path, ending)) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
                _ => Ok(()),
            }
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.is_named {
            return;
        }
        // What cannot be removed is no hindrance to the next try, and does not look whole.
        for ending in COMPANIONS {
            let _ = std::fs::remove_file(beside(&self.path, ending));
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // It holds what guests said: nobody else may read it.
    options.mode(0o600).open(path)
}

/// Whether the file still has this name: whoever held it before us may have renamed it.
fn is_named(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(named)) = (file.metadata(), std::fs::metadata(path)) else {
        return false;
    };
    (ours.dev(), ours.ino()) == (named.dev(), named.ino())
}

/// The folder of a file; an empty parent means the working folder.
fn folder(path: &Path) -> &Path {
    let parent = path.parent().unwrap_or(path);
    if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    }
}

fn refuse_existing(operation: &'static str, target: &Path) -> Result<()> {
    // Also a link that leads nowhere.
    if target.symlink_metadata().is_err() {
        return Ok(());
    }
    let context = format!(
        "{} is there already, and nothing is written over; choose another name, or move it away",
        target.display()
    );
    Err(Error::new(ErrorKind::Conflict, NAME, operation, context))
}

fn unmakable(operation: &'static str, target: &Path, cause: io::Error) -> Error {
    let (is_there, folder) = (folder(target).is_dir(), folder(target).display());
    let context = match cause.kind() {
        io::ErrorKind::NotFound if is_there => {
            format!("no file can be made in {folder}; choose another folder")
        }
        io::ErrorKind::NotFound => format!("there is no folder {folder}; make it first"),
        io::ErrorKind::NotADirectory => format!("{folder} is no folder; choose another"),
        io::ErrorKind::StorageFull => {
            format!("the disk has no room in {folder}; free some, or choose another folder")
        }
        _ => format!("{folder} cannot be written; check its owner and mode, or choose another"),
    };
    Error::caused(ErrorKind::Unavailable, NAME, operation, context, cause)
}
