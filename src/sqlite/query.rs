//! One read-only statement of a user's.

use super::{NAME, open};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_storage::RowSink;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use std::path::Path;

/// Runs one read-only statement on a database file, also while a server uses it, and passes on each row as it is found. Until
/// the last row, the write-ahead log cannot be truncated.
///
/// # Errors
/// `Invalid` with SQLite's own words if the statement is no valid SELECT.
pub fn query(path: &Path, statement: &str, sink: &mut dyn RowSink) -> Result<()> {
    let refused = |reason: &str| Error::new(ErrorKind::Invalid, NAME, "sql", reason);
    if statement.trim().is_empty() {
        return Err(refused(
            "there is no statement to run; docs/getting-started.md has some to begin with",
        ));
    }
    run(&open::visitor(path)?, statement, sink)?.map_err(refused)
}

/// The inner error is the refusal of a statement that would change something.
fn run(
    connection: &Connection,
    statement: &str,
    sink: &mut dyn RowSink,
) -> Result<std::result::Result<(), &'static str>> {
    let mut prepared = connection.prepare(statement).map_err(unaccepted)?;
    if !prepared.readonly() {
        return Ok(Err(
            "only statements that change nothing are run; tables are changed through the service",
        ));
    }
    let columns: Vec<String> = prepared.column_names().map(str::to_owned).collect();
    let mut rows = prepared.query([]).map_err(unaccepted)?;
    let mut next = rows.next().map_err(unaccepted)?; // the first row decides whether the statement is accepted
    let mut goes_on = sink.columns(&columns);
    while let Some(row) = next.filter(|_| goes_on.is_continue()) {
        let cells = cells(row, columns.len()).map_err(unaccepted)?;
        goes_on = sink.row(&cells);
        next = rows.next().map_err(unaccepted)?;
    }
    Ok(Ok(()))
}

fn cells(row: &Row<'_>, width: usize) -> rusqlite::Result<Vec<Option<String>>> {
    (0..width).map(|at| Ok(text(row.get_ref(at)?))).collect()
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
