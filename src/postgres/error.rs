//! Converts PostgreSQL errors.

use super::NAME;
use deadpool_postgres::{PoolError, TimeoutType};
use guestbook_core::error::{Error, ErrorKind};
use std::error::Error as _;
use tokio_postgres::error::SqlState;

/// A failure of a call to the server.
#[derive(Debug)]
pub(super) enum PostgresFault {
    /// The server reported an error, or the connection ended.
    Server(tokio_postgres::Error),
    /// No connection was available.
    Pool(PoolError),
    /// A row has a value that we never write.
    Row(String),
    /// A value that must not be stored.
    Value(&'static str),
    /// No response within the time a call may take.
    Late,
    /// Nothing was written, because the shared settings have changed.
    Settings,
    /// The backend has been closed.
    Closed,
}

pub(super) type Attempt<T> = std::result::Result<T, PostgresFault>;

impl From<tokio_postgres::Error> for PostgresFault {
    fn from(cause: tokio_postgres::Error) -> Self {
        Self::Server(cause)
    }
}

impl PostgresFault {
    /// Whether the connection is lost, so that a retry on another one may succeed.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Server(cause) => {
                cause.is_closed() || cause.as_db_error().is_none_or(ends_session)
            }
            Self::Late => true,
            _ => false,
        }
    }

    /// Whether the server rolled back because of another transaction, so that a retry may succeed.
    pub(super) fn is_undone(&self) -> bool {
        let again = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ];
        self.code().is_some_and(|code| again.contains(code))
    }

    /// Whether the server is read-only: it has become a standby, and every connection to it is useless.
    pub(super) fn is_demoted(&self) -> bool {
        self.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Whether the optimistic cache was stale.
    pub(super) fn is_stale(&self) -> bool {
        self.code().is_some_and(|code| code.code() == "GB001")
    }

    /// The unique constraint that a row violated.
    pub(super) fn repeated(&self) -> Option<&str> {
        let Self::Server(cause) = self else {
            return None;
        };
        let db_error = cause.as_db_error()?;
        (*db_error.code() == SqlState::UNIQUE_VIOLATION)
            .then(|| db_error.constraint().unwrap_or_default())
    }

    fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Server(cause) => cause.code(),
            _ => None,
        }
    }

    /// Converts it to our error of `operation`.
    pub(super) fn into_error(self, operation: &'static str) -> Error {
        let new = |kind, context| Error::new(kind, NAME, operation, context);
        match self {
            Self::Server(cause) => of_server(operation, &cause),
            Self::Pool(PoolError::Backend(cause)) => {
                let (_, context) = classify(&cause);
                Error::caused(
                    ErrorKind::Unavailable,
                    NAME,
                    operation,
                    context,
                    full_text(&cause),
                )
            }
            Self::Pool(PoolError::Timeout(TimeoutType::Wait)) => new(
                ErrorKind::Busy,
                "every connection is in use; try again shortly, or raise --database-connections",
            ),
            Self::Pool(PoolError::Closed) | Self::Closed => {
                new(ErrorKind::Unavailable, "the database is closed")
            }
            Self::Pool(cause) => {
                let context = "no connection to the server";
                Error::caused(
                    ErrorKind::Unavailable,
                    NAME,
                    operation,
                    context,
                    cause.to_string(),
                )
            }
            Self::Row(what) => Error::caused(
                ErrorKind::Corrupt,
                NAME,
                operation,
                "a row is not what was written",
                what,
            ),
            Self::Value(what) => Error::caused(
                ErrorKind::Invalid,
                NAME,
                operation,
                "a value cannot be stored",
                what,
            ),
            Self::Settings => new(
                ErrorKind::Busy,
                "the settings of all nodes have just been changed; try again",
            ),
            Self::Late => new(ErrorKind::Unavailable, "the server did not answer in time"),
        }
    }
}

/// Our error, with the server's own words.
pub(super) fn of_server(operation: &'static str, cause: &tokio_postgres::Error) -> Error {
    let (kind, context) = classify(cause);
    Error::caused(kind, NAME, operation, context, full_text(cause))
}

/// The driver's whole text; its own Display omits the cause.
fn full_text(cause: &tokio_postgres::Error) -> String {
    match (cause.as_db_error(), cause.source()) {
        (Some(db_error), _) => format!(
            "{} {}: {}",
            db_error.severity(),
            db_error.code().code(),
            db_error.message()
        ),
        (None, Some(source)) => format!("{cause}: {source}"),
        (None, None) => cause.to_string(),
    }
}

/// Whether the server is shutting down, or ended this connection on purpose.
fn ends_session(db_error: &tokio_postgres::error::DbError) -> bool {
    let ends = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    ends.contains(db_error.code()) || db_error.code().code().starts_with("08")
}

fn classify(cause: &tokio_postgres::Error) -> (ErrorKind, &'static str) {
    let Some(db_error) = cause.as_db_error() else {
        return unanswered(cause);
    };
    let code = db_error.code();
    if ends_session(db_error) {
        return (
            ErrorKind::Unavailable,
            "the server is stopping, starting or has ended the connection",
        );
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return (ErrorKind::Unavailable, forbidden(db_error.message()));
    }
    of_code(code).unwrap_or_else(|| of_class(code.code()))
}

/// The missing privilege of a role. For a server with another language than English the text names all candidates.
fn forbidden(message: &str) -> &'static str {
    if message.contains("permission denied for schema") {
        return "the role may not make tables in its schema, which PostgreSQL 15 and later leave to the owner of the database; as \
                that owner run: GRANT CREATE, USAGE ON SCHEMA public TO <the role of --database-url>";
    }
    if message.contains("must be owner") || message.contains("permission denied for table") {
        return "the tables belong to another role, as after the dump of another owner was restored; as their owner run ALTER TABLE \
                … OWNER TO <the role of --database-url> for each, or restore the dump anew with pg_restore --no-owner as that role";
    }
    "the role may not do this; it needs CREATE and USAGE on its schema (GRANT CREATE, USAGE ON SCHEMA public TO …), and its own \
     tables (ALTER TABLE … OWNER TO …)"
}

fn of_code(code: &SqlState) -> Option<(ErrorKind, &'static str)> {
    let known = [
        (
            SqlState::DISK_FULL,
            ErrorKind::Full,
            "the server's disk has no room left; free some, nothing else is needed",
        ),
        (
            SqlState::TOO_MANY_CONNECTIONS,
            ErrorKind::Unavailable,
            "the server has no connection left; lower --database-connections, or raise its max_connections",
        ),
        (
            SqlState::LOCK_NOT_AVAILABLE,
            ErrorKind::Busy,
            "another transaction holds the rows; try again shortly",
        ),
        (
            SqlState::QUERY_CANCELED,
            ErrorKind::Busy,
            "a statement took too long; try again shortly",
        ),
        (
            SqlState::READ_ONLY_SQL_TRANSACTION,
            ErrorKind::Unavailable,
            "the server is read-only: a standby, or a role or database with default_transaction_read_only; give the address of the \
             primary, or a role that may write",
        ),
        (
            SqlState::INVALID_CATALOG_NAME,
            ErrorKind::Unavailable,
            "there is no such database on the server; create it, or correct --database-url",
        ),
    ];
    let found = known.into_iter().find(|(known, ..)| known == code);
    found.map(|(_, kind, context)| (kind, context))
}

/// The kind of a code by its first two characters, its class.
fn of_class(code: &str) -> (ErrorKind, &'static str) {
    match code.get(..2) {
        Some("28") => (
            ErrorKind::Unavailable,
            "the server refused the role or its password; correct --database-url",
        ),
        Some("40") => (
            ErrorKind::Busy,
            "another transaction came in between; try again shortly",
        ),
        Some("22" | "23") => (ErrorKind::Invalid, "a row breaks a rule of its table"),
        Some("53") => (
            ErrorKind::Unavailable,
            "the server has run out of something it needs",
        ),
        Some("58") => (
            ErrorKind::Unavailable,
            "the server's disk did not do what it was asked",
        ),
        Some("XX") => (ErrorKind::Corrupt, "the server found damage in its files"),
        _ => (ErrorKind::Internal, "a statement could not be run"),
    }
}

fn unanswered(cause: &tokio_postgres::Error) -> (ErrorKind, &'static str) {
    let text = cause.to_string();
    if text.starts_with("error serializing") {
        return (ErrorKind::Invalid, "a value cannot be stored");
    }
    if text.contains("TLS") {
        return (
            ErrorKind::Unavailable,
            "no TLS with the server; see sslmode and sslrootcert in --database-url",
        );
    }
    (ErrorKind::Unavailable, "the server cannot be reached")
}
