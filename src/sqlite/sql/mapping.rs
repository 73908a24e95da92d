//! The mapping table without row numbers.
//!
//! `schema/sqlite/001` creates it with them: a tree by row number, and an index of ids. Mappings are found by id only, so one tree
//! suffices: it saves 50 bytes and one insertion per message. A table with rows is left as it is, because rewriting millions of
//! rows would delay the start; both forms are read and written alike.

/// One row: whether the mapping has row numbers and is empty.
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
