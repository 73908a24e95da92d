//! What the database knows of the settings that it was served with last.

use super::error::convert;
use super::sql;
use crate::chat::Ttl;
use crate::error::Result;
use crate::storage::database::{Served, TableSettings};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

/// Milliseconds, in `guestbook_meta`.
const LIST_TTL: &str = "list_ttl_ms";
/// As in `cache_embeddings.embedding_model`, in `guestbook_meta`.
const MODEL: &str = "model";

/// What was noted at the last start.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Served> {
    let noted = |key| {
        let value = connection.query_row(sql::META_GET, [key], |row| row.get::<_, String>(0));
        value.optional()
    };
    let milliseconds = noted(LIST_TTL)?.and_then(|text| text.parse().ok());
    Ok(Served {
        list_ttl: milliseconds.map_or(Ttl::DEFAULT, |count| Ttl(Duration::from_millis(count))),
        model: noted(MODEL)?,
    })
}

/// Notes the settings that decide what is right; does nothing when they have not changed.
pub(super) fn note(connection: &Connection, settings: &TableSettings) -> Result<()> {
    let wanted = Served::with(settings);
    let put = |key, value: &str| connection.execute(sql::META_PUT, params![key, value]);
    let run = || {
        let noted = read(connection)?;
        if noted.list_ttl != wanted.list_ttl {
            put(LIST_TTL, &wanted.list_ttl.0.as_millis().to_string())?;
        }
        if noted.model != wanted.model {
            put(MODEL, wanted.model.as_deref().unwrap_or_default())?;
        }
        Ok(())
    };
    run().map_err(convert("open"))
}
