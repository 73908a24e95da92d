//! The folder of the data belongs to one process at a time. Its lock file says to which, and where that one listens.

use guestbook_http::ServerAddress;
use rustix::fs::OFlags;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "guestbook.lock";

/// A folder that is ours until this is dropped, or the process ends in any way.
#[derive(Debug)]
pub(super) struct DataDir {
    lock: File,
}

/// Why a folder cannot be ours.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process has it; where that one listens, if it serves.
    InUse {
        folder: PathBuf,
        address: Option<ServerAddress>,
    },
    /// It cannot be made or written.
    Unusable(String),
}

impl DataDir {
    /// Makes the folder if it is not there, and takes it.
    pub(super) fn lock(folder: &Path) -> Result<Self, LockError> {
        let unusable = |what: &str, cause: std::io::Error| {
            let (folder, next) = (folder.display(), guestbook_storage::path::advice(&cause));
            LockError::Unusable(format!(
                "the data folder {folder} cannot be {what}: {cause}; {next} (--data-dir)"
            ))
        };
        // An empty parent means the working folder.
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        make(folder).map_err(|cause| unusable("made", cause))?;
        let mut options = OpenOptions::new();
        let opened = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed()) // a link would have us write where it leads
            .open(folder.join(LOCK_FILE));
        let mut lock = opened.map_err(|cause| unusable("written", cause))?;
        // One that an older version made may have been readable by others; it stays so where it is another's.
        let _ = lock.set_permissions(Permissions::from_mode(0o600));
        match lock.try_lock() {
            Ok(()) => {
                blank(&mut lock).map_err(|cause| unusable("written", cause))?;
                Ok(Self { lock })
            }
            Err(TryLockError::WouldBlock) => Err(LockError::InUse {
                folder: folder.to_owned(),
                address: address(&mut lock),
            }),
            Err(TryLockError::Error(cause)) => Err(unusable("locked", cause)),
        }
    }

    /// Writes down where this process listens, for other commands.
    pub(super) fn announce(&mut self, address: &ServerAddress) -> std::io::Result<()> {
        let text = format!("{}\n{address}\n", std::process::id());
        self.lock.seek(SeekFrom::Start(0))?;
        self.lock.write_all(text.as_bytes())?;
        self.lock.set_len(text.len() as u64)
    }
}

/// Makes the folder for its owner alone, because it holds what guests said. One that is there stays as it is.
fn make(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        // Another process was faster.
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made,
    }
}

/// What the last process wrote is not true any more. It is written over, because a file that was cut to nothing may not get
/// its room back on a full disk.
fn blank(lock: &mut File) -> std::io::Result<()> {
    let length = lock.metadata()?.len();
    lock.seek(SeekFrom::Start(0))?;
    lock.write_all(&vec![b'\n'; usize::try_from(length).unwrap_or(0)])
}

fn address(lock: &mut File) -> Option<ServerAddress> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.lines().nth(1)?.parse().ok()
}

impl std::fmt::Display for LockError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse { folder, address } => {
                write!(
                    f,
                    "the data folder {} is in use by another guestbook",
                    folder.display()
                )?;
                if let Some(address) = address {
                    write!(f, ", listening on {address}")?;
                }
                f.write_str("; stop that one first, or use another --data-dir")
            }
            Self::Unusable(reason) => f.write_str(reason),
        }
    }
}
