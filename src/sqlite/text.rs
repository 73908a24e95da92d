//! The full-text index over all messages: created, filled and removed when the file is opened, updated by each batch and by
//! triggers, queried here.
//!
//! It only proposes candidates. Each is read from the tables in the same snapshot, and [`guestbook_core::Words`] decides, so stale
//! index entries of removed messages have no effect.

use super::error::convert;
use super::rows::{self, Id, Time};
use super::search::message;
use super::sql;
use guestbook_core::error::Result;
use guestbook_core::{
    ConversationId, Hit, MessagePosition, Platform, Role, Score, SearchResults, Timestamp, TopK,
    indexed,
};
use guestbook_storage::database::WordsRequest;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

/// The SQL function that the triggers call.
const FUNCTION: &str = "guestbook_words";
/// The key of the index's format.
pub(super) const FORM_KEY: &str = "text_index";
/// Changes when words are split, compared or stored differently: the index is then rebuilt.
const FORM: &str = "2";
/// The key of the fill cursor: the row up to which older messages are indexed; absent once all are.
const FILLED_KEY: &str = "text_index_filled";
/// Messages indexed per transaction. A kill costs no more than these.
const PAGE: usize = 10_000;

/// Registers the function that the triggers call. Without it a file with an index could not be written.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS; // required under an untrusted schema
    connection.create_scalar_function(FUNCTION, 1, flags, |context| {
        let content = String::from_utf8_lossy(context.get_raw(0).as_bytes()?);
        Ok(indexed(&content).into_owned())
    })
}

/// Creates and fills the index, resumes an interrupted fill, or removes the index; writes nothing if that is done.
pub(super) fn apply_wanted(connection: &mut Connection, wanted: bool) -> Result<()> {
    let run = |connection: &mut Connection| {
        let form = noted(connection, FORM_KEY)?;
        match (wanted, form.as_deref()) {
            (false, None) => Ok(()),
            (false, Some(_)) => remove(connection),
            (true, Some(FORM)) => fill(connection),
            (true, _) => {
                make(connection)?;
                fill(connection)
            }
        }
    };
    run(connection).map_err(convert("text index"))
}

fn noted(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let mut select = connection.prepare_cached(sql::META_GET)?;
    select.query_row([key], |row| row.get(0)).optional()
}

fn remove(connection: &mut Connection) -> rusqlite::Result<()> {
    let tx = connection.transaction()?;
    tx.execute_batch(sql::TEXT_REMOVE)?;
    tx.execute(sql::META_DELETE, [FORM_KEY])?;
    tx.execute(sql::META_DELETE, [FILLED_KEY])?;
    tx.commit()?;
    tracing::info!("the full-text index was removed; its space will be reused");
    Ok(())
}

/// Creates an empty index, replacing any other. From here on every new message is indexed.
fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    let tx = connection.transaction()?;
    tx.execute_batch(sql::TEXT_REMOVE)?;
    tx.execute_batch(sql::TEXT_MAKE)?;
    tx.execute(sql::META_PUT, [FORM_KEY, FORM])?;
    tx.execute(sql::META_PUT, [FILLED_KEY, "0"])?;
    tx.commit()
}

/// Indexes the messages stored before the index was created, page by page, each with its cursor in one transaction. Nothing
/// else is stored meanwhile: the tables are not open yet.
fn fill(connection: &mut Connection) -> rusqlite::Result<()> {
    let Some(noted) = noted(connection, FILLED_KEY)? else {
        return Ok(());
    };
    let mut filled: i64 = noted.parse().unwrap_or(0);
    let of: u64 = connection.query_row(sql::ENTRIES, [], |row| row.get(0))?;
    let mut taken_in = 0;
    loop {
        let tx = connection.transaction()?;
        let end = tx.query_row(sql::TEXT_PAGE_END, params![filled, PAGE], |row| {
            row.get::<_, Option<i64>>(0)
        });
        let Some(end) = end? else {
            tx.execute(sql::META_DELETE, [FILLED_KEY])?;
            tx.commit()?;
            break;
        };
        taken_in += tx.execute(sql::TEXT_PAGE, [filled, end])?;
        tx.execute(sql::META_PUT, params![FILLED_KEY, end.to_string()])?;
        tx.commit()?;
        filled = end;
        connection.query_row(sql::CHECKPOINT, [], |_| Ok(()))?; // the writer, which checkpoints otherwise, does not run yet
        tracing::info!(taken_in, of, "filling the full-text index");
    }
    Ok(())
}

/// The last row number; 0 if there is none.
pub(super) fn last(tx: &Transaction<'_>) -> rusqlite::Result<i64> {
    let mut select = tx.prepare_cached(sql::TEXT_LAST)?;
    select.query_row([], |row| row.get(0))
}

/// Indexes all messages after a row in one statement: the index writes one segment per statement and merges them later. A
/// trigger would write one per message.
pub(super) fn take_in(tx: &Transaction<'_>, after: i64) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(sql::TEXT_PAGE)?;
    insert.execute([after, i64::MAX]).map(drop)
}

/// The newest messages that contain all words.
pub(super) fn search(
    tx: &Transaction<'_>,
    request: &WordsRequest,
) -> rusqlite::Result<SearchResults> {
    let of = tx.query_row(sql::ENTRIES, [], |row| row.get(0))?;
    let mut best: TopK<(Timestamp, MessagePosition)> = TopK::new(request.k);
    let mut select = tx.prepare_cached(sql::TEXT_PROPOSED)?;
    let mut found = select.query(params![phrase(request), Time(request.now)])?;
    while let Some(row) = found.next()? {
        let stored = row.get::<_, Time>(3)?.0;
        if best.least().is_some_and(|least| stored < least.0) {
            break; // everything that is left was stored before
        }
        if is_hit(row, request)? {
            let place = MessagePosition {
                conversation: ConversationId(row.get::<_, Id>(4)?.0),
                sequence: row.get(5)?,
            };
            best.offer((stored, place));
        }
    }
    let hit = |(_, place): (Timestamp, MessagePosition)| {
        let message = message(tx, place)?;
        Ok(Hit::new(place.conversation, message, Score::FULL))
    };
    let hits: rusqlite::Result<_> = best.into_sorted().into_iter().map(hit).collect();
    Ok(SearchResults {
        hits: hits?,
        searched: of,
        of,
    })
}

/// All tokens, each in quotes. They are letters, digits and marks, so none can close its quotes.
fn phrase(request: &WordsRequest) -> String {
    let mut phrase = String::new();
    for part in request.words.parts() {
        phrase.extend(["\"", part, "\" "]);
    }
    phrase
}

fn is_hit(row: &Row<'_>, request: &WordsRequest) -> rusqlite::Result<bool> {
    let role = Role::parse(row.get_ref(1)?.as_str()?);
    let role = role.map_err(|_| rows::unreadable(1, "role"))?;
    let platform = Platform::parse(row.get_ref(6)?.as_str()?);
    let platform = platform.ok_or_else(|| rows::unreadable(6, "platform"))?;
    let sent_at = row.get::<_, Time>(2)?.0;
    let is_admitted = request.filters.admits(role, platform, sent_at);
    Ok(is_admitted && request.words.are_all_in(row.get_ref(0)?.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use super::*;
    use guestbook_storage::Durability;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    const MESSAGES: usize = 2 * PAGE + 1;
    const SEED: &str = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
        INSERT INTO message_cache (id, conversation_id, role, content, message_hash, tokens, sequence, sent_at, created_at,
            updated_at) SELECT 'id' || i, 'chat', 'user', 'order ' || i, '', 2, i, '', '', '' FROM n";
    const COUNT: &str = "SELECT count(*), count(DISTINCT rowid) FROM message_words WHERE message_words MATCH 'order'";

    fn connection(path: &Path) -> Connection {
        let connection = open::writer(path, Durability::Full).unwrap().connection;
        connection
            .execute_batch("PRAGMA foreign_keys = OFF")
            .unwrap();
        connection
    }

    fn found(connection: &Connection) -> (usize, usize) {
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        connection.query_row(COUNT, [], read).unwrap()
    }

    #[test]
    fn filling_that_was_cut_short_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guestbook.db");
        connection(&path).execute(SEED, [MESSAGES]).unwrap();
        let mut cut_short = 0;
        for allowed in 0.. {
            let mut connection = connection(&path);
            let left = Arc::new(AtomicI64::new(allowed));
            let refuses = move || left.fetch_sub(1, Ordering::SeqCst) <= 0;
            connection.commit_hook(Some(refuses)).unwrap();
            if apply_wanted(&mut connection, true).is_ok() {
                assert_eq!(found(&connection), (MESSAGES, MESSAGES));
                break;
            }
            cut_short += 1;
        }
        assert!(cut_short > 1, "{cut_short}");
    }

    #[test]
    fn an_index_that_is_switched_off_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = connection(&folder.path().join("guestbook.db"));
        let schema = |connection: &Connection| -> i64 {
            let count = "SELECT count(*) FROM sqlite_schema";
            connection.query_row(count, [], |row| row.get(0)).unwrap()
        };
        let before = schema(&connection);
        apply_wanted(&mut connection, true).unwrap();
        assert!(schema(&connection) > before);
        apply_wanted(&mut connection, false).unwrap();
        assert_eq!(schema(&connection), before);
        connection.execute(SEED, [1]).unwrap();
        apply_wanted(&mut connection, true).unwrap();
        assert_eq!(found(&connection), (1, 1));
        connection.execute("DELETE FROM message_cache", []).unwrap();
        assert_eq!(found(&connection), (0, 0));
    }

    #[test]
    fn an_index_of_another_form_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = connection(&folder.path().join("guestbook.db"));
        apply_wanted(&mut connection, true).unwrap();
        connection.execute(SEED, [2]).unwrap();
        connection.execute("DELETE FROM message_words", []).unwrap();
        apply_wanted(&mut connection, true).unwrap();
        assert_eq!(found(&connection), (0, 0), "nothing is to be done");
        connection.execute(sql::META_PUT, [FORM_KEY, "0"]).unwrap();
        apply_wanted(&mut connection, true).unwrap();
        assert_eq!(found(&connection), (2, 2));
    }

    /// Form 1 was updated by a trigger, which would fail every insertion once the index is gone.
    #[test]
    fn an_index_that_a_trigger_kept_leaves_no_trigger() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = connection(&folder.path().join("guestbook.db"));
        for is_on in [false, true] {
            apply_wanted(&mut connection, true).unwrap();
            let trigger = "CREATE TRIGGER message_words_added AFTER INSERT ON message_cache BEGIN
                INSERT INTO message_words (rowid, words) VALUES (new.rowid, guestbook_words(new.content)); END";
            connection.execute_batch(trigger).unwrap();
            connection.execute(sql::META_PUT, [FORM_KEY, "1"]).unwrap();
            apply_wanted(&mut connection, is_on).unwrap();
            connection.execute("DELETE FROM message_cache", []).unwrap();
            connection.execute(SEED, [1]).unwrap();
        }
        assert_eq!(found(&connection), (0, 0), "each batch takes in its own");
    }
}
