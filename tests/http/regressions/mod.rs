//! What the service before this one got wrong, each as a law of its own.

#![allow(clippy::unwrap_used)] // a test may fail

mod embedding;
mod erasing;
mod metrics;
mod migrating;
mod racing;
mod texts;

use guestbook::sqlite::query;
use guestbook::storage::QueryRows;
use guestbook_testkit::http_harness::server::{Pair, Plan, Site};

/// A server over SQLite and sled, whose tables the laws look into.
async fn open() -> Site {
    Site::open(Pair::SqliteSled, Plan::default()).await
}

/// What a statement finds in the tables.
fn found(site: &Site, statement: &str) -> QueryRows {
    let mut found = QueryRows::default();
    query(&site.file(), statement, &mut found).unwrap();
    found
}

/// The first column of every row that a statement gives, NULL as `NULL`.
fn column(site: &Site, statement: &str) -> Vec<String> {
    let rows = found(site, statement).rows;
    let first = |row: Vec<Option<String>>| row.into_iter().next().flatten();
    rows.into_iter()
        .map(|row| first(row).unwrap_or_else(|| "NULL".into()))
        .collect()
}

/// The one value that a statement gives.
fn value(site: &Site, statement: &str) -> String {
    let values = column(site, statement);
    assert_eq!(values.len(), 1, "{statement}: {values:?}");
    values.into_iter().next().unwrap()
}

/// A whole row by the names of its columns.
fn row(site: &Site, statement: &str) -> serde_json::Map<String, serde_json::Value> {
    let found = found(site, statement);
    let (names, rows) = (found.columns, found.rows);
    assert_eq!(rows.len(), 1, "{statement}");
    let values = rows.into_iter().flatten().map(serde_json::Value::from);
    names.into_iter().zip(values).collect()
}
