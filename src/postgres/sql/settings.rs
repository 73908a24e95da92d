//! The database's metadata, and the shared settings.

pub(crate) const META_GET: &str = "SELECT value FROM guestbook_meta WHERE key = $1";
pub(crate) const META_ALL: &str = "SELECT key, value FROM guestbook_meta";
pub(crate) const META_DELETE: &str = "DELETE FROM guestbook_meta WHERE key = $1";
pub(crate) const HAS_META: &str = "SELECT to_regclass('guestbook_meta') IS NOT NULL";
pub(crate) const META_BEGIN: &str =
    "INSERT INTO guestbook_meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
pub(crate) const META_PUT: &str = "INSERT INTO guestbook_meta (key, value) VALUES ($1, $2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";
/// Held by each transaction that writes under the settings, so that a change never applies to half of one.
pub(crate) const SETTINGS_SHARE: &str =
    "SELECT pg_advisory_xact_lock_shared(7453010348712394592)::text";
/// Held by a change: it waits until nobody writes under the old settings any more.
pub(crate) const SETTINGS_LOCK: &str = "SELECT pg_advisory_xact_lock(7453010348712394592)::text";
/// Updates the retention of at most $2 chats after $1; returns the last of them and their number.
pub(crate) const RETAIN_SOME: &str = "WITH page AS (SELECT id FROM conversation_cache
            WHERE platform = 'guest' AND id > $1 ORDER BY id LIMIT $2 FOR UPDATE),
        done AS (UPDATE conversation_cache c SET expires_at = c.accessed_at + make_interval(secs => $3)
            FROM page WHERE c.id = page.id)
    SELECT max(id), count(*) FROM page";
pub(crate) const RETAIN: &str =
    "UPDATE conversation_cache SET expires_at = accessed_at + make_interval(secs => $1)
    WHERE platform = 'guest'";
pub(crate) const RETAIN_FOREVER: &str =
    "UPDATE conversation_cache SET expires_at = NULL WHERE expires_at IS NOT NULL";
pub(crate) const LISTS_TO_RETIME: &str =
    "SELECT user_id, id, message_count, accessed_at FROM conversation_cache
    WHERE platform = 'guest' AND list_expires_at > $2 AND id > $1 ORDER BY id LIMIT $3";
pub(crate) const LISTS_RETIME: &str = "WITH page AS (SELECT id FROM conversation_cache
            WHERE id = ANY ($1) AND list_expires_at > $2 ORDER BY id FOR UPDATE)
    UPDATE conversation_cache c SET list_expires_at = c.accessed_at + make_interval(secs => $3)
    FROM page WHERE c.id = page.id";
