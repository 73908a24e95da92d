//! Checks that no statement that runs per request or per batch scans a table: its cost must not grow with the number of chats.

use super::{open, sql};
use guestbook_storage::Durability;
use rusqlite::Connection;

/// Statements of the request path and of the background tasks.
const NO_SCAN: &[&str] = &[
    sql::ENTRIES,
    sql::CHAT_GET,
    sql::CHAT_UPDATE,
    sql::CHAT_HAS_USER_MESSAGE,
    sql::MESSAGE_FIND,
    sql::MESSAGES_FIND_EXTERNAL,
    sql::SESSION_GET,
    sql::USAGE_TIME,
    sql::METRICS_CARRY,
    sql::LIST_SYNCED,
    sql::LIST_MARK_SYNCED,
    sql::MAPPING_MARK_SYNCED,
    sql::MAPPINGS_MARK_SYNCED,
    sql::MAPPINGS_UNSYNC,
    sql::OUTBOX_ENTRIES,
    sql::LIST_ROW,
    sql::LISTS_EXPIRED,
    sql::LIST_LAPSE,
    sql::REMOVAL_DONE,
    sql::CONVERSATION_OF_GUEST,
    sql::CONVERSATION_BY_ID,
    sql::CONVERSATIONS_OF_USER,
    sql::MESSAGES_UP,
    sql::MESSAGES_DOWN,
    sql::MESSAGE_SIZES_UP,
    sql::MESSAGE_SIZES_DOWN,
    sql::MESSAGES_SKETCHED,
    sql::MESSAGES_WITH_VECTORS,
    sql::VECTORS_OF_CONVERSATION,
    sql::GUEST_CONVERSATION,
    sql::GUEST_CONVERSATION_EVEN_ENDED,
    sql::EXPIRED_CONVERSATIONS,
    sql::ERASE_VECTORS,
    sql::ERASE_NOTES,
    sql::ERASE_MAPPINGS,
    sql::ERASE_MESSAGES,
    sql::ERASE_CONVERSATION,
    sql::OWNS_AS_USER,
    sql::ERASE_USAGE,
    sql::COUNT_MESSAGES,
    sql::USAGE_SUBTRACT,
    sql::MIGRATE_CONVERSATION,
    sql::MIGRATE_MAPPINGS,
    sql::MIGRATE_USAGE,
    sql::VECTORS_PENDING,
    sql::MESSAGE_FOR_VECTOR,
    sql::INDEXABLE,
    sql::INDEXABLE_OF,
    sql::CANDIDATE,
    sql::PROMPT_FIND,
    sql::PROMPTS_NEAR,
    sql::PROMPTS_REMOVE_SCOPE,
    sql::PROMPTS_ERASE,
    sql::PROMPTS_EXPIRED,
    sql::PROMPT_GIVEN,
    sql::PROMPT_USED,
    sql::USAGE_LOOKUPS,
    sql::METRICS_LOOKUPS,
    sql::AUDITS_AFTER,
    sql::AUDITS_OF_GUEST,
    sql::AUDIT_BY_ID,
    sql::AUDITED_MESSAGES,
    sql::OWNERS_AFTER,
    sql::USAGE_GET,
    sql::USAGE_COUNTED,
    sql::HAS_HOUR,
];

/// SQLite's query plan, a line per table.
fn plan(connection: &Connection, statement: &str) -> Vec<String> {
    let mut explain = connection
        .prepare(&["EXPLAIN QUERY PLAN ", statement].concat())
        .unwrap();
    let nulls = vec![rusqlite::types::Null; explain.parameter_count()];
    let rows = explain
        .query_map(rusqlite::params_from_iter(nulls), |row| row.get(3))
        .unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn no_statement_of_the_request_path_reads_a_whole_table() {
    let folder = tempfile::tempdir().unwrap();
    let connection = open::writer(&folder.path().join("guestbook.db"), Durability::Full)
        .unwrap()
        .connection;
    for statement in NO_SCAN {
        let plan = plan(&connection, statement);
        let scans: Vec<_> = plan
            .iter()
            .filter(|line| line.starts_with("SCAN") && !is_small(line))
            .collect();
        assert!(scans.is_empty(), "{statement}\n{scans:#?}");
    }
}

/// The newest hour is read from the end of its index; a constant is one row; `owned` is a subquery that used an index.
fn is_small(line: &str) -> bool {
    [
        "SCAN CONSTANT ROW",
        "SCAN owned",
        "SCAN cache_metrics USING INDEX sqlite_autoindex_cache_metrics_2",
    ]
    .contains(&line)
}
