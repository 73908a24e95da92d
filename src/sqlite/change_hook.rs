//! Records the rows that the writing connection changes. SQLite's update hook reports every change, whatever the statement, so
//! no write can bypass cache invalidation.

use rusqlite::Connection;
use rusqlite::hooks::Action;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const PROMPTS: &str = "prompt_cache";
const CHATS: &str = "conversation_cache";

/// The changed rows, except those of a `DELETE` without a condition, which the hook does not report. All clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct ChangedRows(Arc<Mutex<RowIds>>);

/// Row numbers, possibly repeated. A change of messages changes their conversation's row too: it has their count and hash.
#[derive(Debug, Default)]
pub(super) struct RowIds {
    pub(super) prompts: Vec<i64>,
    pub(super) chats: Vec<i64>,
}

impl ChangedRows {
    /// Records every change on this connection from now on.
    pub(super) fn watch(&self, writer: &mut Connection) -> rusqlite::Result<()> {
        let noted = self.clone();
        let note = move |_: Action, _: &str, table: &str, row: i64| match table {
            CHATS => noted.rows().chats.push(row),
            PROMPTS => noted.rows().prompts.push(row),
            _ => {}
        };
        writer.update_hook(Some(note))
    }

    /// The recorded rows; the caller empties them once the caches are invalidated.
    pub(super) fn rows(&self) -> MutexGuard<'_, RowIds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;

    #[test]
    fn every_row_of_what_is_held_is_noted_however_it_is_changed() {
        let (changed, mut writer) = (
            ChangedRows::default(),
            Connection::open_in_memory().unwrap(),
        );
        let tables = "CREATE TABLE prompt_cache (n INTEGER PRIMARY KEY, hits INTEGER);
            CREATE TABLE conversation_cache (id TEXT PRIMARY KEY, n INTEGER) STRICT;
            CREATE TABLE other (n INTEGER);
            INSERT INTO prompt_cache VALUES (1, 0), (2, 0), (3, 0);
            INSERT INTO conversation_cache VALUES ('a', 1), ('b', 1), ('c', 1)";
        writer.execute_batch(tables).unwrap();
        changed.watch(&mut writer).unwrap();
        let changes = "INSERT INTO other VALUES (3);
            UPDATE prompt_cache SET hits = 1 WHERE n = 1;
            DELETE FROM prompt_cache WHERE n = 2;
            UPDATE conversation_cache SET n = 2 WHERE id = 'b';
            INSERT INTO conversation_cache VALUES ('d', 1);
            DELETE FROM conversation_cache WHERE n > 0";
        writer.execute_batch(changes).unwrap();
        let rows = changed.rows();
        assert_eq!(rows.prompts, [1, 2]);
        assert_eq!(rows.chats, [2, 4, 1, 2, 3, 4]);
    }
}
