//! The full-text index over all messages.

/// How the server cuts a text into words; both sides of a search go through it, so what matters is that a message which has a
/// word has all pieces of it. What NFKC would join to a letter beside it (², ™, ①) stands alone before, then case and forms
/// are made one, then each character of scripts without spaces stands alone, and signs become spaces. A text is cut where no
/// tsvector could be made of it, so that the index can refuse no message.
pub(crate) const TEXT_FUNCTION: &str = r"
    CREATE OR REPLACE FUNCTION guestbook_words_1(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT left(regexp_replace(
            replace(translate(lower(normalize(
                regexp_replace(content, '([\u00b2\u00b3\u00b9\u00bc-\u00be\u2070\u2074-\u2079\u2080-\u2089\u2100\u2101\u2103\u2105\u2106\u2108\u2109\u2116\u2117\u2120-\u2122\u2460-\u249b\u24ea-\u24ff\u2776-\u2793\u3200-\u33ff])', ' \1 ', 'g'),
            NFKC)), U&'\03C2', U&'\03C3'), U&'\00DF', 'ss'),
            '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u2e80-\u2fff\u3005-\u3007\u3021-\u302f\u3031-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])|[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u2000-\u206f\u20a0-\u20cf\u2190-\u245f\u2500-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\ufe10-\ufe1f\ufe30-\ufe6f\U0001f000-\U0001faff]+',
            ' \1 ', 'g'), 131072)
    $$";
/// One row where the index is there: whether it can be asked, and whether somebody is making it.
pub(crate) const TEXT_STATE: &str =
    "SELECT i.indisvalid, EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
    FROM pg_index i WHERE i.indexrelid = to_regclass('message_words')";
pub(crate) const TEXT_IS_THERE: &str = "SELECT to_regclass('message_words') IS NOT NULL";
/// Unicode has no normal form anywhere else.
pub(crate) const TEXT_ENCODING: &str = "SELECT current_setting('server_encoding')";
pub(crate) const TEXT_MAKE: &str =
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS message_words ON message_cache
    USING gin (to_tsvector('pg_catalog.simple', guestbook_words_1(content)))";
pub(crate) const TEXT_REMOVE: &str = "DROP INDEX CONCURRENTLY IF EXISTS message_words";
/// The last stored first, after $7 to $9 if these are given.
pub(crate) const TEXT_PROPOSED: &str = "SELECT m.id, m.sequence, m.role, m.content, m.sent_at, m.created_at, m.metadata, m.external_id, m.conversation_id
    FROM message_cache m
        JOIN conversation_cache c ON c.id = m.conversation_id AND (c.expires_at IS NULL OR c.expires_at > $2)
    WHERE to_tsvector('pg_catalog.simple', guestbook_words_1(m.content))
            @@ plainto_tsquery('pg_catalog.simple', guestbook_words_1($1))
        AND ($3::text IS NULL OR m.role = $3) AND ($4::text IS NULL OR c.platform = $4)
        AND ($5::timestamptz IS NULL OR m.sent_at >= $5) AND ($6::timestamptz IS NULL OR m.sent_at < $6)
        AND ($7::timestamptz IS NULL OR (m.created_at, m.conversation_id, m.sequence) < ($7, $8::text COLLATE \"C\", $9::bigint))
    ORDER BY m.created_at DESC, m.conversation_id DESC, m.sequence DESC LIMIT $10";
