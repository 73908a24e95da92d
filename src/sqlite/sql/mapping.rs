//! The mapping without row numbers.
//!
//! `schema/sqlite/001` makes it with them: a tree of rows by number, and a tree of ids that leads to it. Ids alone find a
//! mapping, so one tree does: 50 bytes and one insertion less a message. A table that holds something is left as it is, because
//! writing millions of rows anew is nothing for a start; both are read and written alike.

/// One row: whether the mapping has row numbers and holds nothing.
pub(crate) const MAPPING_CAN_BE_MADE_ANEW: &str =
    "SELECT wr = 0 AND NOT EXISTS (SELECT 1 FROM cache_content_mapping)
    FROM pragma_table_list WHERE schema = 'main' AND name = 'cache_content_mapping'";
/// The columns of `schema/sqlite/001`.
pub(crate) const MAPPING_ANEW: &str = "
    DROP TABLE cache_content_mapping;
    CREATE TABLE cache_content_mapping (
        id              TEXT PRIMARY KEY NOT NULL,
        cache_type      TEXT NOT NULL,
        cache_id        TEXT NOT NULL,
        content_id      TEXT,
        user_id         TEXT NOT NULL,
        cache_backend   TEXT NOT NULL,
        content_backend TEXT NOT NULL,
        is_synced       INTEGER NOT NULL,           -- 1 only when the list has the message, durably
        last_synced_at  TEXT,
        created_at      TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;";
