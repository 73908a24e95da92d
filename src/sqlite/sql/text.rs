//! The full-text index over all messages.

/// Contentless and without positions: it only tells which messages contain a word. Rows have the row numbers of their messages,
/// which only VACUUM would change, and nothing here vacuums: pages are freed one by one.
/// The tokenizer splits at ASCII that is neither letter nor digit, which is what `guestbook_words` puts between words.
pub(crate) const TEXT_MAKE: &str = "
    CREATE VIRTUAL TABLE message_words USING fts5
        (words, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');
    CREATE TRIGGER message_words_changed AFTER UPDATE OF content ON message_cache BEGIN
        INSERT OR REPLACE INTO message_words (rowid, words) VALUES (new.rowid, guestbook_words(new.content));
    END;
    CREATE TRIGGER message_words_removed AFTER DELETE ON message_cache BEGIN
        DELETE FROM message_words WHERE rowid = old.rowid;
    END;";
/// `message_words_added` is of a build that updated the index by a trigger: without the index it would fail every insertion.
pub(crate) const TEXT_REMOVE: &str = "
    DROP TRIGGER IF EXISTS message_words_added;
    DROP TRIGGER IF EXISTS message_words_changed;
    DROP TRIGGER IF EXISTS message_words_removed;
    DROP TABLE IF EXISTS message_words;";
pub(crate) const TEXT_PAGE_END: &str = "SELECT max(row) FROM (SELECT rowid AS row FROM message_cache WHERE rowid > ?1 ORDER BY rowid LIMIT ?2)";
pub(crate) const TEXT_PAGE: &str = "INSERT OR REPLACE INTO message_words (rowid, words)
    SELECT rowid, guestbook_words(content) FROM message_cache WHERE rowid > ?1 AND rowid <= ?2 ORDER BY rowid";
pub(crate) const TEXT_LAST: &str = "SELECT coalesce(max(rowid), 0) FROM message_cache";
/// The last stored first.
pub(crate) const TEXT_PROPOSED: &str =
    "SELECT m.content, m.role, m.sent_at, m.created_at, m.conversation_id, m.sequence, c.platform
    FROM message_words CROSS JOIN message_cache m ON m.rowid = message_words.rowid
        CROSS JOIN conversation_cache c ON c.id = m.conversation_id
    WHERE message_words MATCH ?1 AND (c.expires_at IS NULL OR c.expires_at > ?2)
    ORDER BY message_words.rowid DESC";
