//! Opening the file: pragmas, migrations, and the database's metadata.

use super::check::FileState;
use super::error::{self, convert, convert_at};
use super::file::DatabaseFile;
use super::{NAME, file, sql, text};
use chrono::DateTime;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_storage::Durability;
use guestbook_storage::schema::{Unknown, WRITTEN_BY};
use refinery::error::Kind;
use refinery::{Migration, Report, Runner};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, TransactionBehavior, params,
};
use std::path::Path;
use uuid::Uuid;

const OPEN: &str = "open";
/// SQLite's value for it.
const INCREMENTAL: i64 = 2;
const MIGRATE: &str = "migrate schema";
/// The statements of a batch, plus some for the rest.
const CACHED_STATEMENTS: usize = 128;
/// Numbered, never edited once released; refinery keeps their checksums in the file and refuses a file whose history differs.
pub(super) const MIGRATIONS: &[(&str, &str)] = &[
    (
        "V1__tables",
        include_str!("../../schema/sqlite/001_tables.sql"),
    ),
    (
        "V2__prompts",
        include_str!("../../schema/sqlite/002_prompts.sql"),
    ),
    (
        "V3__external_ids",
        include_str!("../../schema/sqlite/003_external_ids.sql"),
    ),
];

/// The connection that writes, and its database's metadata.
#[derive(Debug)]
pub(super) struct OpenedFile {
    pub(super) connection: Connection,
    pub(super) epoch: Uuid,
    /// The durability of a commit on this connection.
    pub(super) durability: Durability,
    /// The last stop was unclean, and the file is too large to be checked first.
    pub(super) is_unchecked: bool,
    /// Last, so that it is released after the connection.
    pub(super) file: DatabaseFile,
}

/// Opens the connection that writes.
pub(super) fn writer(path: &Path, durability: Durability) -> Result<OpenedFile> {
    take(path, durability, false)
}

/// As [`writer`], also for a file that is read-only.
pub(super) fn inspector(path: &Path) -> Result<OpenedFile> {
    take(path, Durability::Full, true) // repairs must be durable
}

fn take(path: &Path, durability: Durability, may_be_read_only: bool) -> Result<OpenedFile> {
    let file = DatabaseFile::take(path, may_be_read_only)?;
    let path = file.path();
    let trust = FileState::of(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = connect(OPEN, path, flags)?;
    let auto_vacuum = connection.query_row(sql::AUTO_VACUUM, [], |row| row.get::<_, i64>(0));
    if auto_vacuum.map_err(convert_at(OPEN, path))? != INCREMENTAL {
        // Only in an empty file, and not at every start: a full disk has no space for it.
        connection
            .execute_batch(sql::SET_AUTO_VACUUM)
            .map_err(convert_at(OPEN, path))?;
    }
    apply_pragmas(path, &connection, durability)?;
    let is_unchecked = trust.check_now(path, &mut connection)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    text::register(&connection).map_err(convert_at(OPEN, path))?;
    let migrated = migrate(&mut connection)?;
    if !migrated.applied_migrations().is_empty() {
        let by = [WRITTEN_BY, env!("CARGO_PKG_VERSION")];
        let noted = connection.execute(sql::META_PUT, by);
        noted.map_err(convert_at(OPEN, path))?;
    }
    drop_row_numbers(&mut connection).map_err(convert_at(MIGRATE, path))?;
    guestbook_failpoint::reach("schema.mid");
    let epoch = epoch(&connection).map_err(convert_at(OPEN, path))?;
    file.keep_private(); // known to be ours by now
    file.watch_companions();
    Ok(OpenedFile {
        connection,
        file,
        epoch,
        durability,
        is_unchecked,
    })
}

/// Fails unless writes are possible: SQLite silently opens a read-only file for reading, and likewise the files beside it, which
/// shows only when a write begins. Changes nothing.
pub(super) fn require_writable(path: &Path, connection: &mut Connection) -> Result<()> {
    let may_begin = |connection: &mut Connection| {
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        match begun.map(drop) {
            Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::ReadOnly) => Ok(false),
            begun => begun.map(|()| true),
        }
    };
    if !is_read_only(connection)? && may_begin(connection).map_err(convert_at(OPEN, path))? {
        return Ok(());
    }
    let context = format!(
        "{} can be read and not written, so no message could be stored; make it, what begins with its name and its folder writable \
         for the user that the server runs as, or check how its disk is mounted",
        path.display()
    );
    Err(Error::new(ErrorKind::Unavailable, NAME, OPEN, context))
}

/// Opens a connection that only reads, by the canonical path.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(OPEN, path, flags)?;
    connection
        .execute_batch(sql::READER_PRAGMAS)
        .map_err(convert_at(OPEN, path))?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    Ok(connection)
}

/// As [`reader`], by any path: for a process that does not serve the file.
pub(super) fn visitor(path: &Path) -> Result<Connection> {
    let path = file::canonical(path)?;
    let connection = reader(&path)?;
    // Only reading shows whether the files beside it can be opened too.
    let size = connection.query_row(sql::SIZE, [], |_| Ok(()));
    size.map_err(convert_at(OPEN, &path))?;
    Ok(connection)
}

/// The only way to open a connection. The path is absolute and taken literally: SQLite interprets a name that begins with `file:`
/// or is `:memory:`, with or without its flag for URIs, but no absolute path.
pub(super) fn connect(
    operation: &'static str,
    path: &Path,
    flags: OpenFlags,
) -> Result<Connection> {
    let absolute = std::path::absolute(path).map_err(|cause| file::unopened(path, &cause))?;
    Connection::open_with_flags(&absolute, flags).map_err(convert_at(operation, path))
}

/// Sets the pragmas and verifies them: SQLite silently ignores what it cannot do.
fn apply_pragmas(path: &Path, connection: &Connection, durability: Durability) -> Result<()> {
    let failed = convert_at(OPEN, path);
    let journal = connection.query_row(sql::JOURNAL_WAL, [], |row| row.get::<_, String>(0));
    let journal = journal.map_err(&failed)?;
    connection
        .execute_batch(sql::WRITER_PRAGMAS)
        .map_err(&failed)?;
    let wanted = match durability {
        Durability::Full => 2,
        _ => {
            let normal = connection.execute_batch(sql::SYNCHRONOUS_NORMAL);
            normal.map_err(&failed)?;
            1
        }
    };
    let synchronous = connection.query_row(sql::SYNCHRONOUS, [], |row| row.get::<_, i64>(0));
    let synchronous = synchronous.map_err(&failed)?;
    if (journal.as_str(), synchronous) == ("wal", wanted) || is_read_only(connection)? {
        return Ok(());
    }
    let context = format!(
        "{} cannot be kept safely: SQLite was asked for journal_mode=wal and synchronous={wanted} and has {journal} and \
         {synchronous}; its file system may lack shared memory, so use a disk of this machine",
        path.display()
    );
    Err(Error::new(ErrorKind::Unavailable, NAME, OPEN, context))
}

fn is_read_only(connection: &Connection) -> Result<bool> {
    connection.is_readonly("main").map_err(convert(OPEN))
}

pub(super) fn migrate(connection: &mut Connection) -> Result<Report> {
    require_history(connection)?;
    let migrated = runner(MIGRATIONS).and_then(|runner| runner.run(connection));
    migrated.map_err(|cause| unknown_schema(connection, cause))
}

/// Replaces the mapping table of a new file by the one of `sql/mapping.rs`.
fn drop_row_numbers(connection: &mut Connection) -> rusqlite::Result<()> {
    let can = |row: &Row<'_>| row.get::<_, bool>(0);
    if !connection.query_row(sql::MAPPING_CAN_BE_MADE_ANEW, [], can)? {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    transaction.execute_batch(sql::MAPPING_ANEW)?;
    transaction.commit()
}

/// Fails unless this version knows the file's schema, or can migrate it.
pub(super) fn require_known(connection: &mut Connection) -> Result<()> {
    require_history(connection)?;
    let runner = runner(MIGRATIONS).map_err(|cause| unknown_schema(connection, cause))?;
    let applied = runner
        .get_applied_migrations(connection)
        .map_err(|cause| unknown_schema(connection, cause))?;
    let known = runner.get_migrations();
    match applied.iter().find(|migration| !known.contains(migration)) {
        None => Ok(()),
        Some(found) => Err(Error::new(
            ErrorKind::Unsupported,
            NAME,
            MIGRATE,
            unknown(connection, found),
        )),
    }
}

/// The migrations up to the last of these versions.
pub(super) fn runner(versions: &[(&str, &str)]) -> std::result::Result<Runner, refinery::Error> {
    let known = |(name, sql): &(&str, &str)| Migration::unapplied(name, sql);
    let migrations: Vec<_> = versions
        .iter()
        .map(known)
        .collect::<std::result::Result<_, _>>()?;
    // In one transaction with refinery's record, which it would otherwise write in a second one: a process killed between
    // the two could never be started again.
    let runner = Runner::new(&migrations).set_grouped(true);
    Ok(runner.set_abort_missing(true).set_abort_divergent(true))
}

/// Fails unless the schema history is readable: refinery assumes that only itself wrote it.
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

fn unknown_schema(connection: &Connection, cause: refinery::Error) -> Error {
    let unsupported = |context: String| Error::new(ErrorKind::Unsupported, NAME, MIGRATE, context);
    match cause.kind() {
        Kind::Connection(_, source)
            if let Some((kind, context)) = source.downcast_ref().and_then(error::of_the_disk) =>
        {
            Error::caused(kind, NAME, MIGRATE, context, cause)
        }
        Kind::MissingVersion(found) | Kind::DivergentVersion(found, _) => {
            unsupported(unknown(connection, found))
        }
        _ => {
            let context = "the schema of the file could not be brought up to date";
            Error::caused(ErrorKind::Unsupported, NAME, MIGRATE, context, cause)
        }
    }
}

/// The error text for a migration unknown to this version.
fn unknown(connection: &Connection, found: &Migration) -> String {
    let by = connection.query_row(sql::META_GET, [WRITTEN_BY], |row| row.get::<_, String>(0));
    let known = MIGRATIONS.len();
    let number = usize::try_from(found.version()).unwrap_or(0);
    let named = format!("{number} ({})", found.name());
    let unknown = match number > known {
        true => Unknown::Newer {
            found: named,
            known,
        },
        false => Unknown::Other { found: named },
    };
    unknown.context(by.ok().as_deref(), "another --data-dir")
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

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_file_that_cannot_have_a_journal_of_its_kind_is_refused() {
        let memory = Connection::open_in_memory().unwrap();
        let refused = apply_pragmas(Path::new("g.db"), &memory, Durability::Full).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        assert!(refused.context().contains("has memory and 2"), "{refused}");
    }

    #[test]
    fn a_name_is_never_a_uri() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file:x?mode=memory");
        drop(writer(&path, Durability::Full).unwrap());
        assert!(path.metadata().unwrap().len() > 0);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        for name in [":memory:", "file:x?mode=memory", ""] {
            assert!(connect(OPEN, name.as_ref(), flags).is_err(), "{name}");
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

    /// A full disk has no space for it, and a server that was killed there must start.
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
