//! The database's metadata, and the settings stored with it.

pub(crate) const META_GET: &str = "SELECT value FROM guestbook_meta WHERE key = ?1";
pub(crate) const META_PUT: &str = "INSERT INTO guestbook_meta (key, value) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";
pub(crate) const META_DELETE: &str = "DELETE FROM guestbook_meta WHERE key = ?1";
pub(crate) const HAS_META: &str =
    "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = 'guestbook_meta'";
pub(crate) const META_ALL: &str = "SELECT key, value FROM guestbook_meta";
pub(crate) const RETAIN: &str = "UPDATE conversation_cache
    SET expires_at = strftime('%Y-%m-%dT%H:%M:%fZ', accessed_at, ?1) WHERE platform = 'guest'";
pub(crate) const RETAIN_FOREVER: &str =
    "UPDATE conversation_cache SET expires_at = NULL WHERE expires_at IS NOT NULL";
pub(crate) const LISTS_TO_RETIME: &str =
    "SELECT user_id, id, message_count, accessed_at FROM conversation_cache
    WHERE list_expires_at > ?2 AND id > ?1 AND platform = 'guest' ORDER BY id LIMIT ?3";
pub(crate) const LIST_SPOKEN_TO: &str =
    "SELECT accessed_at FROM conversation_cache WHERE id = ?1 AND list_expires_at > ?2";
pub(crate) const LIST_RETIME: &str =
    "UPDATE conversation_cache SET list_expires_at = ?2 WHERE id = ?1";
