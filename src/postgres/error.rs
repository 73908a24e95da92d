//! The one place where a PostgreSQL error becomes ours.

use super::NAME;
use deadpool_postgres::{PoolError, TimeoutType};
use guestbook_core::error::{Error, ErrorKind};
use std::error::Error as _;
use tokio_postgres::error::SqlState;

/// What can go wrong between us and the server.
#[derive(Debug)]
pub(super) enum PostgresFault {
    /// The server said no, or the connection ended.
    Server(tokio_postgres::Error),
    /// No connection could be had.
    Pool(PoolError),
    /// A row holds something that was never written there.
    Row(String),
    /// A value that must not be stored.
    Value(&'static str),
    /// No answer within the time a call may take.
    Late,
    /// Nothing was written, because the settings of all nodes have been changed.
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
    /// Whether the connection is gone, so that another one may do better.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Server(cause) => {
                cause.is_closed() || cause.as_db_error().is_none_or(ends_session)
            }
            Self::Late => true,
            _ => false,
        }
    }

    /// Whether the server undid the transaction because of another one, so that the same may succeed next time.
    pub(super) fn is_undone(&self) -> bool {
        let again = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ];
        self.code().is_some_and(|code| again.contains(code))
    }

    /// Whether the server takes no writes: it has become a standby, and every connection to it is of no use.
    pub(super) fn is_demoted(&self) -> bool {
        self.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Whether a conversation was not what this node had thought it to be.
    pub(super) fn is_stale(&self) -> bool {
        self.code().is_some_and(|code| code.code() == "GB001")
    }

    /// The constraint that a row broke by being there already.
    pub(super) fn repeated(&self) -> Option<&str> {
        let Self::Server(cause) = self else {
            return None;
        };
        let said = cause.as_db_error()?;
        (*said.code() == SqlState::UNIQUE_VIOLATION).then(|| said.constraint().unwrap_or_default())
    }

    fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Server(cause) => cause.code(),
            _ => None,
        }
    }

    /// Ours, from doing `operation`.
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
                    told(&cause),
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

/// Ours, with the server's own words.
pub(super) fn of_server(operation: &'static str, cause: &tokio_postgres::Error) -> Error {
    let (kind, context) = classify(cause);
    Error::caused(kind, NAME, operation, context, told(cause))
}

/// Everything the driver says; its own Display keeps the cause to itself.
fn told(cause: &tokio_postgres::Error) -> String {
    match (cause.as_db_error(), cause.source()) {
        (Some(said), _) => format!(
            "{} {}: {}",
            said.severity(),
            said.code().code(),
            said.message()
        ),
        (None, Some(source)) => format!("{cause}: {source}"),
        (None, None) => cause.to_string(),
    }
}

/// The server is going down, or ended this connection on purpose.
fn ends_session(said: &tokio_postgres::error::DbError) -> bool {
    let ends = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    ends.contains(said.code()) || said.code().code().starts_with("08")
}

fn classify(cause: &tokio_postgres::Error) -> (ErrorKind, &'static str) {
    let Some(said) = cause.as_db_error() else {
        return unanswered(cause);
    };
    let code = said.code();
    if ends_session(said) {
        return (
            ErrorKind::Unavailable,
            "the server is stopping, starting or has ended the connection",
        );
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return (ErrorKind::Unavailable, forbidden(said.message()));
    }
    of_code(code).unwrap_or_else(|| of_class(code.code()))
}

/// What a role lacks. A server that speaks another language than English is told of by all that it may be.
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

/// What the first two characters of a code say.
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
