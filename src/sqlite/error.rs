//! Converts SQLite errors.

use super::{NAME, file};
use guestbook_core::error::{Error, ErrorKind};
use guestbook_storage::path::advice;
use rusqlite::ErrorCode;
use rusqlite::ffi;
use rustix::io::Errno;
use std::path::Path;

const NO_ROOM: &str = "the disk has no room left; free some, nothing else is needed";

/// Converts an error of SQLite's during `operation`.
pub(super) fn convert(operation: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |cause| match ours(cause) {
        Ok(error) => error,
        Err(cause) => {
            let (kind, context) = classify(&cause);
            Error::caused(kind, NAME, operation, context, cause)
        }
    }
}

/// Wraps one of our errors in a SQLite error for a callback; [`convert`] unwraps it.
pub(super) fn carry(error: Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn ours(cause: rusqlite::Error) -> Result<Error, rusqlite::Error> {
    match cause {
        rusqlite::Error::ToSqlConversionFailure(cause) => cause
            .downcast::<Error>()
            .map(|error| *error)
            .map_err(rusqlite::Error::ToSqlConversionFailure),
        cause => Err(cause),
    }
}

/// Whether a row violates a unique constraint other than its primary key.
pub(super) fn is_taken(cause: &rusqlite::Error) -> bool {
    let code = cause.sqlite_error().map(|error| error.extended_code);
    code == Some(ffi::SQLITE_CONSTRAINT_UNIQUE)
}

/// As [`convert`], naming the file.
pub(super) fn convert_at(
    operation: &'static str,
    path: &Path,
) -> impl Fn(rusqlite::Error) -> Error + use<> {
    let path = path.to_owned();
    move |cause| {
        let (kind, context) = classify(&cause);
        let code = cause.sqlite_error_code();
        let of_the_system = match code {
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => file::obstacle(&path),
            _ => None,
        };
        let shown = path.display();
        let context = match of_the_system {
            Some(reason) => format!("{shown}: {reason}; {}", advice(&reason)),
            None => format!("{shown}: {context}"),
        };
        Error::caused(kind, NAME, operation, context, cause)
    }
}

/// Whether the data on disk is unknown after this error: a failed fsync may have dropped its pages.
pub(super) fn is_fatal(cause: &rusqlite::Error) -> bool {
    let fatal = [
        ffi::SQLITE_IOERR_FSYNC,
        ffi::SQLITE_IOERR_DIR_FSYNC,
        ffi::SQLITE_CORRUPT,
        ffi::SQLITE_NOTADB,
    ];
    let code = cause.sqlite_error().map(|error| error.extended_code);
    code.is_some_and(|code| fatal.contains(&code) || fatal.contains(&(code & 0xff)))
}

/// The kind and text of a failure caused by the disk, not by the statement.
pub(super) fn of_the_disk(cause: &rusqlite::Error) -> Option<(ErrorKind, &'static str)> {
    let (kind, context) = classify(cause);
    let is_of_the_disk = matches!(
        kind,
        ErrorKind::Full | ErrorKind::Unavailable | ErrorKind::Corrupt | ErrorKind::Busy
    );
    is_of_the_disk.then_some((kind, context))
}

/// SQLite has a code of its own for a full disk while the journal's index is extended.
fn has_no_room_for_index(cause: &rusqlite::Error) -> bool {
    let code = cause.sqlite_error().map(|error| error.extended_code);
    code == Some(ffi::SQLITE_IOERR_SHMSIZE)
}

fn classify(cause: &rusqlite::Error) -> (ErrorKind, &'static str) {
    if matches!(cause, rusqlite::Error::ToSqlConversionFailure(_)) {
        return (ErrorKind::Invalid, "a value cannot be stored");
    }
    let Some(code) = cause.sqlite_error_code() else {
        return (ErrorKind::Internal, "a statement could not be run");
    };
    if has_no_room_for_index(cause) {
        return (ErrorKind::Full, NO_ROOM);
    }
    match code {
        ErrorCode::DiskFull => (ErrorKind::Full, NO_ROOM),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            (ErrorKind::Busy, "another process holds the database")
        }
        ErrorCode::ConstraintViolation => (ErrorKind::Invalid, "a row breaks a rule of its table"),
        ErrorCode::TooBig => (ErrorKind::Invalid, "a value is larger than SQLite can hold"),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => (
            ErrorKind::Corrupt,
            "the database file is damaged, or the disk cannot read it; if a restart does not help, restore a backup with `guestbook restore`",
        ),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => (
            ErrorKind::Unavailable,
            "the database cannot be written; check the owner and mode of its folder",
        ),
        ErrorCode::CannotOpen => (ErrorKind::Unavailable, cannot_open()),
        ErrorCode::SystemIoFailure => (
            ErrorKind::Unavailable,
            "the disk did not do what it was asked",
        ),
        _ => (ErrorKind::Internal, "a statement could not be run"),
    }
}

/// SQLite gives no further cause. If nothing at all can be opened, the file is not the cause.
fn cannot_open() -> &'static str {
    match std::fs::File::open("/dev/null") {
        Ok(_) => {
            "the database cannot be opened; check that its folder exists, can be written, and that the disk has room"
        }
        Err(cause) if Errno::from_io_error(&cause) == Some(Errno::MFILE) => {
            "too many files are open; raise the limit (`ulimit -n 1024`, or LimitNOFILE= of the service)"
        }
        Err(_) => "no file can be opened on this machine; see its log",
    }
}
