//! The failures below the traits, their recovery, and the errors that callers get.

use guestbook_core::error::{Error, ErrorKind};
use std::io;

/// The backend's name in receipts and errors.
pub(super) const NAME: &str = "sled";

const UNCONFIRMED: &str =
    "the disk did not do what it was asked, so that the list store cannot be trusted any more";

/// The result of everything below the traits.
pub(super) type SledResult<T> = std::result::Result<T, SledFault>;

/// A failure, as it was found.
#[derive(Debug)]
pub(super) enum SledFault {
    /// sled returned an error.
    Sled(sled::Error),
    /// A system call of ours failed.
    Io(&'static str, io::Error),
    /// An fsync failed. The kernel reports that once, and then shows pages as written that are only in memory: reading them back
    /// proves nothing.
    Unsynced(io::Error),
    /// The store was reopened, and earlier writes may be lost.
    Reopened,
    /// sled panicked, which is how it often reports damage.
    Panic(String),
    /// The files had data, but sled found no store in them: garbage looks to it like an empty log.
    Forgotten,
    /// One of our records is damaged, though sled found nothing wrong.
    Record(String),
    /// A record cannot be written.
    Unwritable(String),
}

/// How to recover the open store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Recovery {
    /// Nothing to do: it is sound.
    Keep,
    /// Close and reopen it: sled keeps failing after its first I/O error, also when the disk has space again.
    Reopen,
    /// Set it aside: its content cannot be trusted.
    SetAside,
}

impl From<sled::Error> for SledFault {
    fn from(cause: sled::Error) -> Self {
        Self::Sled(cause)
    }
}

impl SledFault {
    /// The recovery of the store.
    pub(super) fn remedy(&self) -> Recovery {
        match self {
            Self::Record(_) | Self::Unwritable(_) | Self::Reopened => Recovery::Keep,
            Self::Io(..) => Recovery::Reopen,
            Self::Sled(sled::Error::Io(cause)) if comes_from_content(cause.kind()) => {
                Recovery::SetAside
            }
            Self::Unsynced(_) => Recovery::SetAside,
            Self::Sled(sled::Error::Io(cause)) if is_failed_disk(cause) => Recovery::SetAside,
            Self::Sled(sled::Error::Io(_)) => Recovery::Reopen,
            Self::Sled(sled::Error::ReportableBug(text)) if is_dead_pool(text) => Recovery::Reopen,
            Self::Sled(_) | Self::Forgotten => Recovery::SetAside,
            Self::Panic(text) if names_an_os_error(text) => Recovery::Reopen,
            Self::Panic(_) => Recovery::SetAside,
        }
    }

    /// Whether the files' content is the cause, and not the machine.
    pub(super) fn is_damage(&self) -> bool {
        self.remedy() == Recovery::SetAside
    }

    /// Converts it to our error. The only conversion.
    pub(super) fn into_error(self, operation: &'static str) -> Error {
        let plain = |kind, context: String| Error::new(kind, NAME, operation, context);
        let caused = |kind, context: &str, cause: Box<dyn std::error::Error + Send + Sync>| {
            Error::caused(kind, NAME, operation, context, cause)
        };
        let damaged = self.is_damage();
        match self {
            Self::Sled(sled::Error::Io(cause)) if is_failed_disk(&cause) => {
                caused(ErrorKind::Unavailable, UNCONFIRMED, cause.into())
            }
            Self::Unsynced(cause) => caused(explain(&cause).0, UNCONFIRMED, cause.into()),
            Self::Reopened => plain(
                ErrorKind::Unavailable,
                "the list store was opened again, and what was written just before may be gone"
                    .into(),
            ),
            Self::Sled(cause) if damaged => caused(
                ErrorKind::Corrupt,
                "the list store is damaged",
                cause.into(),
            ),
            Self::Panic(text) if damaged => plain(
                ErrorKind::Corrupt,
                format!("the list store is damaged; sled panicked: {text}"),
            ),
            Self::Panic(text) => plain(ErrorKind::Unavailable, format!("sled panicked: {text}")),
            Self::Sled(sled::Error::Io(cause)) => {
                let (kind, context) = explain(&cause);
                caused(kind, context, cause.into())
            }
            // The remaining case is the dead pool, which only a new process replaces.
            Self::Sled(cause) => caused(
                ErrorKind::Unavailable,
                "the list store needs a restart of this process",
                cause.into(),
            ),
            Self::Io(what, cause) => {
                let (kind, advice) = explain(&cause);
                caused(kind, &format!("{what}: {advice}"), cause.into())
            }
            Self::Forgotten => plain(
                ErrorKind::Corrupt,
                "the list store is damaged: its files hold data but no lists".into(),
            ),
            Self::Record(text) => plain(ErrorKind::Corrupt, text),
            Self::Unwritable(text) => plain(
                ErrorKind::Invalid,
                format!("an item cannot be written: {text}"),
            ),
        }
    }
}

/// I/O errors caused by the files' content and not by the machine.
fn comes_from_content(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    matches!(kind, InvalidData | InvalidInput | NotFound | UnexpectedEof)
}

/// An error of the device. sled syncs with every write of its own, so this may be the only report of lost pages. It passes its
/// errors on as text.
fn is_failed_disk(cause: &io::Error) -> bool {
    const EIO: i32 = 5;
    cause.raw_os_error() == Some(EIO) || cause.to_string().contains("Os { code: 5,")
}

/// After a panic of one of its I/O threads sled refuses every store in the process, sound or not.
fn is_dead_pool(text: &str) -> bool {
    text.contains("IO thread")
}

/// A panic whose text contains an error of the operating system (no space, no file handles …) does not imply damaged content. A
/// missing file (error 2) and a failing disk (error 5) do.
fn names_an_os_error(text: &str) -> bool {
    let is_of_content = ["Os { code: 2,", "Os { code: 5,"];
    text.contains("Os { code:") && !is_of_content.iter().any(|it| text.contains(it))
}

/// EMFILE: sled passes some of its errors on as text.
const TOO_MANY_FILES: &str = "(os error 24)";

fn explain(cause: &io::Error) -> (ErrorKind, &'static str) {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let text = cause.to_string();
    match cause.kind() {
        StorageFull | QuotaExceeded => (
            ErrorKind::Full,
            "the disk of the list store is full; free some space, it then goes on by itself",
        ),
        PermissionDenied => (
            ErrorKind::Unavailable,
            "the list store may not be written; give this user write access to its directory",
        ),
        ReadOnlyFilesystem => (
            ErrorKind::Unavailable,
            "the list store may not be written; mount its file system writable",
        ),
        _ if text.contains(TOO_MANY_FILES) => (
            ErrorKind::Unavailable,
            "the list store needs more open files; raise their limit (`ulimit -n 1024`, or LimitNOFILE= of the service)",
        ),
        // sled reports a lock that is taken as `Other` with this text.
        _ if text.contains("could not acquire lock") => (
            ErrorKind::Unavailable,
            "the list store is open already; stop the other process or give this one its own directory",
        ),
        _ => (
            ErrorKind::Unavailable,
            "the list store cannot be read or written",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sled_io(kind: io::ErrorKind) -> SledFault {
        SledFault::Sled(sled::Error::Io(kind.into()))
    }

    #[test]
    fn only_damage_is_set_aside() {
        let damage = || SledFault::Sled(sled::Error::Corruption { at: None, bt: () });
        let bug = |text: &str| SledFault::Sled(sled::Error::ReportableBug(text.into()));
        let cases = [
            (damage(), Recovery::SetAside, ErrorKind::Corrupt),
            (bug("lost page"), Recovery::SetAside, ErrorKind::Corrupt),
            (
                bug("IO thread unexpectedly panicked"),
                Recovery::Reopen,
                ErrorKind::Unavailable,
            ),
            (
                SledFault::Panic("index out of bounds".into()),
                Recovery::SetAside,
                ErrorKind::Corrupt,
            ),
            (
                SledFault::Panic("called unwrap: Io(Os { code: 28, kind: StorageFull })".into()),
                Recovery::Reopen,
                ErrorKind::Unavailable,
            ),
            (
                sled_io(io::ErrorKind::StorageFull),
                Recovery::Reopen,
                ErrorKind::Full,
            ),
            (
                sled_io(io::ErrorKind::PermissionDenied),
                Recovery::Reopen,
                ErrorKind::Unavailable,
            ),
            (
                sled_io(io::ErrorKind::UnexpectedEof),
                Recovery::SetAside,
                ErrorKind::Corrupt,
            ),
            (
                SledFault::Sled(sled::Error::Io(io::Error::from_raw_os_error(5))),
                Recovery::SetAside,
                ErrorKind::Unavailable,
            ),
            (
                SledFault::Sled(sled::Error::Io(io::Error::from_raw_os_error(5)).clone()),
                Recovery::SetAside,
                ErrorKind::Unavailable,
            ),
            (
                SledFault::Panic("unwrap: Io(Os { code: 5, kind: Uncategorized })".into()),
                Recovery::SetAside,
                ErrorKind::Corrupt,
            ),
            (
                SledFault::Unsynced(io::Error::from_raw_os_error(5)),
                Recovery::SetAside,
                ErrorKind::Unavailable,
            ),
            (SledFault::Reopened, Recovery::Keep, ErrorKind::Unavailable),
            (SledFault::Forgotten, Recovery::SetAside, ErrorKind::Corrupt),
            (
                SledFault::Record("crc".into()),
                Recovery::Keep,
                ErrorKind::Corrupt,
            ),
            (
                SledFault::Unwritable("long".into()),
                Recovery::Keep,
                ErrorKind::Invalid,
            ),
        ];
        for (fault, remedy, kind) in cases {
            let text = format!("{fault:?}");
            assert_eq!(fault.remedy(), remedy, "{text}");
            assert_eq!(fault.into_error("apply").kind(), kind, "{text}");
        }
    }

    #[test]
    fn a_held_lock_says_what_to_do() {
        let cause = io::Error::other("could not acquire lock on \"db\"");
        let error = SledFault::Sled(sled::Error::Io(cause)).into_error("open");
        assert!(
            error.to_string().contains("stop the other process"),
            "{error}"
        );
    }
}
