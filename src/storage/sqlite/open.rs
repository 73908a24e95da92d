//! Opening the file: settings, migrations, and what the database knows of itself.

use super::check::Trust;
use super::error::{self, convert, convert_at};
use super::{NAME, sql, text};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{Durability, QueryRows};
use chrono::DateTime;
use refinery::{Migration, Report, Runner};
use rusqlite::types::ValueRef;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, TransactionBehavior, params,
};
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

const OPEN: &str = "open";
/// What SQLite calls it.
const INCREMENTAL: i64 = 2;
const MIGRATE: &str = "migrate schema";
const UNKNOWN_SCHEMA: &str = "the schema of the file is not one this version knows: it was written by a newer version, or edited \
     by hand; use that version, or another --data-dir";
/// The statements of a batch, and room for the rest.
const CACHED_STATEMENTS: usize = 128;
/// Numbered, never edited once released; refinery keeps their checksums in the file and refuses a file whose history differs.
const MIGRATIONS: &[(&str, &str)] = &[
    (
        "V1__tables",
        include_str!("../../../schema/sqlite/001_tables.sql"),
    ),
    (
        "V2__prompts",
        include_str!("../../../schema/sqlite/002_prompts.sql"),
    ),
];

/// The connection that writes, and what is known of its content.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) epoch: Uuid,
    /// What a commit on this connection outlives.
    pub(super) durability: Durability,
    /// The last stop was not clean, and the file is too large to be checked first.
    pub(super) is_unchecked: bool,
}

/// Opens the connection that writes.
pub(super) fn writer(path: &Path, durability: Durability) -> Result<Opened> {
    let trust = Trust::of(path);
    let mut connection = Connection::open(path).map_err(convert_at(OPEN, path))?;
    let auto_vacuum = connection.query_row(sql::AUTO_VACUUM, [], |row| row.get::<_, i64>(0));
    if auto_vacuum.map_err(convert_at(OPEN, path))? != INCREMENTAL {
        // Before anything is in the file, and not at every start: a full disk has no room for it.
        connection
            .execute_batch(sql::SET_AUTO_VACUUM)
            .map_err(convert_at(OPEN, path))?;
    }
    connection
        .execute_batch(sql::WRITER_PRAGMAS)
        .map_err(convert_at(OPEN, path))?;
    if durability != Durability::Full {
        connection
            .execute_batch(sql::SYNCHRONOUS_NORMAL)
            .map_err(convert_at(OPEN, path))?;
    }
    let is_unchecked = trust.settle(path, &mut connection)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    text::register(&connection).map_err(convert(OPEN))?;
    migrate(&mut connection)?;
    drop_row_numbers(&mut connection).map_err(convert(MIGRATE))?;
    crate::failpoint::reach("schema.mid");
    let epoch = epoch(&connection).map_err(convert(OPEN))?;
    Ok(Opened {
        connection,
        epoch,
        durability,
        is_unchecked,
    })
}

/// That what is to be stored can be: SQLite opens a file that it may not write for reading, and says nothing. So it does with
/// what it keeps beside the file; that shows when a write begins, which changes nothing.
pub(super) fn require_writable(path: &Path, connection: &mut Connection) -> Result<()> {
    let may_begin = |connection: &mut Connection| {
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        match begun.map(drop) {
            Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::ReadOnly) => Ok(false),
            begun => begun.map(|()| true),
        }
    };
    let is_readonly = connection.is_readonly("main").map_err(convert(OPEN))?;
    if !is_readonly && may_begin(connection).map_err(convert_at(OPEN, path))? {
        return Ok(());
    }
    let context = format!(
        "{} can be read and not written, so no message could be stored; make it, what begins with its name and its folder writable \
         for the user that the server runs as, or check how its disk is mounted",
        path.display()
    );
    Err(Error::new(ErrorKind::Unavailable, NAME, OPEN, context))
}

/// Opens a connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(convert_at(OPEN, path))?;
    connection
        .execute_batch(sql::READER_PRAGMAS)
        .map_err(convert_at(OPEN, path))?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    Ok(connection)
}

/// Runs one read-only statement on a database file, also while a server is using it.
///
/// # Errors
/// `Invalid` with SQLite's own words when the statement is no valid SELECT.
pub fn query(path: &Path, statement: &str) -> Result<QueryRows> {
    let refused = |reason: &str| Error::new(ErrorKind::Invalid, NAME, "sql", reason);
    if statement.trim().is_empty() {
        return Err(refused(
            "there is no statement to run; docs/getting-started.md has some to begin with",
        ));
    }
    let connection = reader(path)?;
    let mut prepared = connection.prepare(statement).map_err(unaccepted)?;
    if !prepared.readonly() {
        return Err(refused(
            "only statements that change nothing are run; tables are changed through the service",
        ));
    }
    let mut run = || {
        let columns: Vec<String> = prepared.column_names().map(str::to_owned).collect();
        let width = columns.len();
        let read = |row: &Row<'_>| (0..width).map(|at| Ok(text(row.get_ref(at)?))).collect();
        let rows = prepared
            .query_map([], read)?
            .collect::<rusqlite::Result<_>>()?;
        Ok(QueryRows { columns, rows })
    };
    run().map_err(unaccepted)
}

fn unaccepted(cause: rusqlite::Error) -> Error {
    Error::caused(
        ErrorKind::Invalid,
        NAME,
        "sql",
        "the statement was refused",
        cause,
    )
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

fn migrate(connection: &mut Connection) -> Result<Report> {
    require_history(connection)?;
    runner()
        .and_then(|runner| runner.run(connection))
        .map_err(unknown_schema)
}

/// Makes the mapping of a new file the one of `sql/mapping.rs`.
fn drop_row_numbers(connection: &mut Connection) -> rusqlite::Result<()> {
    let can = |row: &Row<'_>| row.get::<_, bool>(0);
    if !connection.query_row(sql::MAPPING_CAN_BE_MADE_ANEW, [], can)? {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    transaction.execute_batch(sql::MAPPING_ANEW)?;
    transaction.commit()
}

/// That the schema of the file is one this version knows, or can bring up to date.
pub(super) fn require_known(connection: &mut Connection) -> Result<()> {
    require_history(connection)?;
    let runner = runner().map_err(unknown_schema)?;
    let applied = runner
        .get_applied_migrations(connection)
        .map_err(unknown_schema)?;
    let known = runner.get_migrations();
    if applied.iter().all(|migration| known.contains(migration)) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        NAME,
        MIGRATE,
        UNKNOWN_SCHEMA,
    ))
}

fn runner() -> std::result::Result<Runner, refinery::Error> {
    let known = |(name, sql): &(&str, &str)| Migration::unapplied(name, sql);
    let migrations: Vec<_> = MIGRATIONS
        .iter()
        .map(known)
        .collect::<std::result::Result<_, _>>()?;
    // In one transaction with the note that it was done, which refinery would otherwise write in one of its own: a process
    // that ends between the two could never be started again.
    let runner = Runner::new(&migrations).set_grouped(true);
    Ok(runner.set_abort_missing(true).set_abort_divergent(true))
}

/// That the history of the schema can be read: refinery takes for granted that nobody but itself wrote it.
fn require_history(connection: &Connection) -> Result<()> {
    let is_readable = |row: &Row<'_>| {
        let (applied_on, checksum): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(DateTime::parse_from_rfc3339(&applied_on).is_ok() && checksum.parse::<u64>().is_ok())
    };
    let run = || {
        if !connection.query_row(sql::HAS_HISTORY, [], |row| row.get::<_, bool>(0))? {
            return Ok(true); // a new file
        }
        let mut history = connection.prepare(sql::HISTORY)?;
        let rows = history.query_map([], is_readable)?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
            .map(|rows| rows.into_iter().all(|is_readable| is_readable))
    };
    if run().map_err(convert(MIGRATE))? {
        return Ok(());
    }
    let context = "the database file is damaged, the history of its schema cannot be read; restore a backup with `guestbook restore`";
    Err(Error::new(ErrorKind::Corrupt, NAME, MIGRATE, context))
}

fn unknown_schema(cause: refinery::Error) -> Error {
    if let refinery::error::Kind::Connection(_, source) = cause.kind()
        && let Some((kind, context)) = source.downcast_ref().and_then(error::of_the_disk)
    {
        return Error::caused(kind, NAME, MIGRATE, context, cause);
    }
    Error::caused(ErrorKind::Unsupported, NAME, MIGRATE, UNKNOWN_SCHEMA, cause)
}

fn epoch(connection: &Connection) -> rusqlite::Result<Uuid> {
    let stored: Option<String> = connection
        .query_row(sql::META_GET, ["store_epoch"], |row| row.get(0))
        .optional()?;
    if let Some(epoch) = stored.and_then(|text| Uuid::parse_str(&text).ok()) {
        return Ok(epoch);
    }
    let epoch = Uuid::new_v4();
    connection.execute(sql::META_PUT, params!["store_epoch", epoch.to_string()])?;
    Ok(epoch)
}

/// Makes `expires_at` of the chats that are there follow a changed `--retention`; does nothing when it has not changed.
pub(super) fn retain(connection: &mut Connection, retention: Option<Duration>) -> Result<()> {
    let wanted = retention.map_or_else(|| "off".to_owned(), |span| span.as_millis().to_string());
    let run = |connection: &mut Connection| {
        let transaction = connection.transaction()?;
        let stored: Option<String> = transaction
            .query_row(sql::META_GET, ["retention_ms"], |row| row.get(0))
            .optional()?;
        if stored.as_deref().unwrap_or("off") != wanted {
            match retention {
                Some(span) => transaction
                    .execute(sql::RETAIN, [format!("+{} seconds", span.as_secs_f64())])?,
                None => transaction.execute(sql::RETAIN_FOREVER, [])?,
            };
            transaction.execute(sql::META_PUT, params!["retention_ms", wanted])?;
        }
        transaction.commit()
    };
    run(connection).map_err(convert(OPEN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Ttl;
    use crate::storage::database::TableSettings;
    use crate::storage::sqlite::SqliteDatabase;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[test]
    fn a_schema_that_was_begun_and_not_finished_is_begun_again() {
        for allowed in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("guestbook.db");
            let mut connection = Connection::open(&path).unwrap();
            let left = Arc::new(AtomicI64::new(allowed));
            let counted = Arc::clone(&left);
            let refuses = move || counted.fetch_sub(1, Ordering::SeqCst) <= 0;
            connection.commit_hook(Some(refuses)).unwrap();
            let made = migrate(&mut connection);
            drop(connection);
            writer(&path, Durability::Full).unwrap();
            if made.is_ok() {
                assert!(allowed > 0, "nothing was refused");
                return;
            }
        }
    }

    #[test]
    fn a_new_mapping_has_no_row_numbers_and_one_in_use_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guestbook.db");
        let mut older = Connection::open(&path).unwrap();
        migrate(&mut older).unwrap();
        let mapping =
            "INSERT INTO cache_content_mapping VALUES ('1', '', '', NULL, '', '', '', 1, NULL, '')";
        older.execute(mapping, []).unwrap();
        let has_row_numbers = |connection: &Connection| {
            let rows = connection.prepare("SELECT rowid FROM cache_content_mapping");
            rows.is_ok()
        };
        let opened = writer(&path, Durability::Full).unwrap().connection;
        assert!(has_row_numbers(&opened));
        let count = "SELECT count(*) FROM cache_content_mapping";
        let rows: i64 = opened.query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
        let empty = folder.path().join("empty.db");
        let opened = writer(&empty, Durability::Full).unwrap().connection;
        assert!(!has_row_numbers(&opened));
        let columns = |connection: &Connection| -> Vec<String> {
            let all = "SELECT name || ' ' || type || ' ' || \"notnull\" FROM pragma_table_info('cache_content_mapping')";
            let mut found = connection.prepare(all).unwrap();
            let names = found.query_map([], |row| row.get(0)).unwrap();
            names.collect::<rusqlite::Result<_>>().unwrap()
        };
        assert_eq!(columns(&opened), columns(&older));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_not_served_and_can_be_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guestbook.db");
        let settings = TableSettings {
            list_ttl: Ttl::DEFAULT,
            retention: None,
            model: None,
            cache_backend: "sled",
            text_index: false,
        };
        drop(SqliteDatabase::open(&path, settings.clone()).unwrap());
        // Whoever runs this may be allowed to write anything, whatever the mode of the file.
        let read_only = format!("file:{}?mode=ro", path.display());
        let refused = SqliteDatabase::open(read_only.as_ref(), settings.clone()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        assert!(refused.context().contains(&read_only), "{refused}");
        SqliteDatabase::inspect(read_only.as_ref(), settings).unwrap();
    }

    /// There is no room for it on a full disk, and a server that was killed there has to start.
    #[test]
    fn a_start_with_nothing_to_do_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guestbook.db");
        drop(writer(&path, Durability::Full).unwrap());
        let _connection = writer(&path, Durability::Full).unwrap();
        let journal = folder.path().join("guestbook.db-wal");
        assert_eq!(journal.metadata().map_or(0, |file| file.len()), 0);
    }
}
