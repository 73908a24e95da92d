//! Every SQL text of this backend as a named constant. None is built at run time.

mod corpus;
mod mapping;
mod prompts;
mod search;
mod settings;
mod text;

pub(super) use corpus::*;
pub(super) use mapping::*;
pub(super) use prompts::*;
pub(super) use search::*;
pub(super) use settings::*;
pub(super) use text::*;

// Connection settings.

/// 2 is incremental.
pub(super) const AUTO_VACUUM: &str = "PRAGMA auto_vacuum";
/// Writes to the file also when nothing changes.
pub(super) const SET_AUTO_VACUUM: &str = "PRAGMA auto_vacuum = INCREMENTAL";

/// For the connection that writes. FULL: a commit is on disk when it returns. The WAL is truncated to 64 MiB after a peak.
/// Checkpoints are run by `checkpoint.rs`, which sees their errors. Pages beyond a cache of 16 MB are in the system's cache.
pub(super) const WRITER_PRAGMAS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -16000;
    PRAGMA temp_store = MEMORY;
    PRAGMA mmap_size = 0;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA foreign_keys = ON;";

/// Returns `wal` if possible, else the file's journal mode.
pub(super) const JOURNAL_WAL: &str = "PRAGMA journal_mode = WAL";
/// 1 is NORMAL, 2 is FULL.
pub(super) const SYNCHRONOUS: &str = "PRAGMA synchronous";

pub(super) const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";
/// Runs after the writer's pragmas if the durability is `normal`: the system has a commit when it returns, the disk at the next
/// checkpoint. A killed process loses nothing; a power cut may lose the last commits, and leaves the file intact.
pub(super) const SYNCHRONOUS_NORMAL: &str = "PRAGMA synchronous = NORMAL";

/// Restores durability `full` after commits that did not wait for the disk.
pub(super) const SYNCHRONOUS_FULL: &str = "PRAGMA synchronous = FULL";

/// Makes every commit so far survive a power cut.
pub(super) const CHECKPOINT_ALL: &str = "PRAGMA wal_checkpoint(FULL)";

/// Changes when another connection has committed.
pub(super) const DATA_VERSION: &str = "PRAGMA data_version";

/// For the connections that read. They never checkpoint.
pub(super) const READER_PRAGMAS: &str = "
    PRAGMA query_only = ON;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA cache_size = -8000;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;";

/// For a copy in progress: it is private, and thrown away on failure.
pub(super) const COPY_PRAGMAS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;";
/// Without a write-ahead log: one plain file.
pub(super) const PLAIN_FILE: &str = "PRAGMA journal_mode = DELETE";

// Metadata.

/// One row: `ok`, or the first finding.
pub(super) const QUICK_CHECK: &str = "PRAGMA quick_check(1)";
pub(super) const PAGE_SIZE: &str =
    "SELECT page_size FROM pragma_page_size(), sqlite_schema LIMIT 1";
pub(super) const IS_OURS: &str =
    "SELECT count(*) = 4 FROM sqlite_schema WHERE type = 'table' AND name IN
    ('guestbook_meta', 'conversation_cache', 'message_cache', 'refinery_schema_history')";
pub(super) const HAS_HISTORY: &str = "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = 'refinery_schema_history'";
pub(super) const HISTORY: &str = "SELECT applied_on, checksum FROM refinery_schema_history";
pub(super) const MESSAGES_COUNT: &str = "SELECT count(*) FROM message_cache";
pub(super) const CONVERSATIONS_COUNT: &str = "SELECT count(*) FROM conversation_cache";
pub(super) const SIZE: &str =
    "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
pub(super) const ENTRIES: &str = "SELECT coalesce((SELECT total_entries FROM cache_metrics ORDER BY recorded_at DESC LIMIT 1), 0)";

// Recording.

pub(super) const CHAT_GET: &str =
    "SELECT id, title, conversation_hash, message_count, total_tokens, expires_at,
        list_from, list_expires_at
    FROM conversation_cache WHERE user_id = ?1 AND platform = 'guest'";
pub(super) const CHAT_INSERT: &str = "INSERT INTO conversation_cache (id, user_id, session_id, title, conversation_hash,
        message_count, total_tokens, platform, created_at, accessed_at, expires_at, list_from, list_synced, list_expires_at)
    VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, 'guest', ?7, ?7, ?8, ?9, 0, ?10)";
pub(super) const CHAT_UPDATE: &str = "UPDATE conversation_cache SET title = ?2, conversation_hash = ?3, message_count = ?4,
        total_tokens = ?5, accessed_at = ?6, expires_at = ?7, list_from = ?8, list_expires_at = ?9 WHERE id = ?1";
pub(super) const CHAT_HAS_USER_MESSAGE: &str =
    "SELECT EXISTS (SELECT 1 FROM message_cache WHERE conversation_id = ?1 AND role = 'user')";
pub(super) const MESSAGE_INSERT: &str =
    "INSERT INTO message_cache (id, conversation_id, role, content, message_hash, tokens,
        sequence, metadata, sent_at, created_at, updated_at, external_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11)";
pub(super) const MESSAGE_FIND: &str = "SELECT m.conversation_id, m.sequence, m.role, m.message_hash,
        coalesce(p.is_synced, 0), n.state, e.id IS NOT NULL, m.id, m.external_id, m.sent_at, m.metadata
    FROM message_cache m LEFT JOIN cache_content_mapping p ON p.id = m.id
        LEFT JOIN embedding_notes n ON n.message_id = m.id LEFT JOIN cache_embeddings e ON e.id = m.id
    WHERE m.id = ?1";
/// The same columns for the messages under ?3 in the conversation ?1 and in those that the guest ?2 began and a user has now.
pub(super) const MESSAGES_FIND_EXTERNAL: &str = "SELECT m.conversation_id, m.sequence, m.role, m.message_hash,
        coalesce(p.is_synced, 0), n.state, e.id IS NOT NULL, m.id, m.external_id, m.sent_at, m.metadata
    FROM (SELECT ?1 AS id UNION ALL SELECT id FROM conversation_cache WHERE session_id = ?2 AND platform = 'authenticated') owned
        CROSS JOIN message_cache m ON m.conversation_id = owned.id AND m.external_id = ?3
        LEFT JOIN cache_content_mapping p ON p.id = m.id
        LEFT JOIN embedding_notes n ON n.message_id = m.id LEFT JOIN cache_embeddings e ON e.id = m.id";
pub(super) const SESSION_GET: &str =
    "SELECT session_id, list_from, list_expires_at FROM conversation_cache WHERE id = ?1";
pub(super) const VECTOR_PUT: &str = "INSERT INTO cache_embeddings (id, conversation_id, message_id, embedding, embedding_model,
        embedding_dim, created_at) VALUES (?1, ?2, ?1, ?3, ?4, ?5, ?6)
    ON CONFLICT (id) DO UPDATE SET embedding = excluded.embedding, embedding_model = excluded.embedding_model,
        embedding_dim = excluded.embedding_dim, created_at = excluded.created_at";
pub(super) const NOTE_PUT: &str = "INSERT INTO embedding_notes (message_id, state, model, attempts, cause, updated_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (message_id) DO UPDATE SET state = excluded.state, model = excluded.model, attempts = excluded.attempts,
        cause = excluded.cause, updated_at = excluded.updated_at";
pub(super) const MAPPING_INSERT: &str = "INSERT INTO cache_content_mapping (id, cache_type, cache_id, user_id, cache_backend,
        content_backend, is_synced, created_at) VALUES (?1, 'message', ?1, ?2, ?3, 'sqlite', 0, ?4)";
/// A POST counts one request and one miss per message. The monthly counter restarts with the UTC month.
pub(super) const USAGE_COUNT: &str = "INSERT INTO usage_metrics (id, user_id, total_requests, cache_hits, cache_misses,
        total_input_tokens, total_output_tokens, total_tokens, tier, monthly_requests_used, created_at, updated_at)
    VALUES (?1, ?2, ?3, 0, ?3, ?4, ?5, ?4 + ?5, 'guest', ?3, ?6, ?6)
    ON CONFLICT (user_id) DO UPDATE SET total_requests = total_requests + ?3, cache_misses = cache_misses + ?3,
        total_input_tokens = total_input_tokens + ?4, total_output_tokens = total_output_tokens + ?5,
        total_tokens = total_tokens + ?4 + ?5, cache_hit_rate = cast(cache_hits AS REAL) / (cache_hits + cache_misses + ?3),
        monthly_requests_used = iif(substr(updated_at, 1, 7) = substr(?6, 1, 7), monthly_requests_used, 0) + ?3,
        updated_at = ?6
    RETURNING total_requests";
pub(super) const USAGE_TIME: &str = "UPDATE usage_metrics SET timed_requests = timed_requests + ?2,
        average_response_time_ms = (average_response_time_ms * timed_requests + ?3) / (timed_requests + ?2)
    WHERE user_id = ?1";
/// Adds to the row of the hour, or creates it with the entries of the newest row.
pub(super) const METRICS_ADD: &str = "INSERT INTO cache_metrics (id, recorded_at, total_entries, cache_hits, cache_misses,
        total_requests, timed_requests, avg_response_time, storage_size_mb)
    VALUES (?1, ?2, max(0, coalesce((SELECT total_entries FROM cache_metrics ORDER BY recorded_at DESC LIMIT 1), 0) + ?3),
        ?4, ?5, ?4 + ?5, ?6, iif(?6 > 0, ?7 / ?6, 0.0),
        (SELECT page_count * page_size / 1048576.0 FROM pragma_page_count(), pragma_page_size()))
    ON CONFLICT (recorded_at) DO UPDATE SET total_entries = max(0, total_entries + ?3), cache_hits = cache_hits + ?4,
        cache_misses = cache_misses + ?5, total_requests = total_requests + ?4 + ?5, timed_requests = timed_requests + ?6,
        avg_response_time = iif(timed_requests + ?6 > 0,
            (avg_response_time * timed_requests + ?7) / (timed_requests + ?6), 0.0),
        storage_size_mb = excluded.storage_size_mb";
/// Keeps the newest row's entries right if the clock was set back and an older row is written.
pub(super) const METRICS_CARRY: &str =
    "UPDATE cache_metrics SET total_entries = max(0, total_entries + ?2) WHERE recorded_at > ?1";

// Session lists.

pub(super) const LIST_SYNCED: &str = "SELECT list_from, list_synced FROM conversation_cache
    WHERE id = ?1 AND list_expires_at IS NOT NULL AND message_count >= ?2";
pub(super) const LIST_MARK_SYNCED: &str =
    "UPDATE conversation_cache SET list_synced = ?2 WHERE id = ?1 AND list_synced < ?2";
pub(super) const MAPPING_MARK_SYNCED: &str = "UPDATE cache_content_mapping SET is_synced = 1, last_synced_at = ?2 WHERE id = ?1 AND is_synced = 0";
pub(super) const MAPPINGS_MARK_SYNCED: &str = "UPDATE cache_content_mapping SET is_synced = 1, last_synced_at = ?4
    WHERE is_synced = 0 AND id IN
        (SELECT id FROM message_cache WHERE conversation_id = ?1 AND sequence >= ?2 AND sequence < ?3)";
pub(super) const MAPPINGS_UNSYNC: &str = "UPDATE cache_content_mapping SET is_synced = 0
    WHERE is_synced = 1 AND id IN (SELECT id FROM message_cache WHERE conversation_id = ?1 AND sequence < ?2)";
pub(super) const OUTBOX_ENTRIES: &str = "SELECT user_id, id, list_from, list_expires_at, message_count, list_synced
    FROM conversation_cache INDEXED BY conversation_list_debt
    WHERE list_synced < message_count AND list_expires_at IS NOT NULL AND list_expires_at > ?2 AND id > ?1 AND platform = 'guest'
        AND (expires_at IS NULL OR expires_at > ?2)
    ORDER BY id LIMIT ?3";
pub(super) const LIST_ROWS: &str =
    "SELECT user_id, id, list_from, list_expires_at, message_count, list_synced
    FROM conversation_cache WHERE list_expires_at > ?2 AND id > ?1 AND platform = 'guest'
        AND (expires_at IS NULL OR expires_at > ?2) ORDER BY id LIMIT ?3";
pub(super) const LIST_ROW: &str =
    "SELECT user_id, id, list_from, list_expires_at, message_count, list_synced
    FROM conversation_cache WHERE user_id = ?1 AND platform = 'guest' AND list_expires_at > ?2
        AND (expires_at IS NULL OR expires_at > ?2)";
pub(super) const LISTS_EXPIRED: &str =
    "SELECT id FROM conversation_cache WHERE list_expires_at <= ?1
    ORDER BY list_expires_at LIMIT ?2";
pub(super) const LIST_LAPSE: &str =
    "UPDATE conversation_cache SET list_expires_at = NULL WHERE id = ?1";
pub(super) const REMOVALS: &str = "SELECT guest_id FROM list_removals ORDER BY guest_id LIMIT ?1";
pub(super) const REMOVAL_ADD: &str =
    "INSERT OR IGNORE INTO list_removals (guest_id, requested_at) VALUES (?1, ?2)";
pub(super) const REMOVAL_DONE: &str = "DELETE FROM list_removals WHERE guest_id = ?1";

// Reading.

pub(super) const CONVERSATION_OF_GUEST: &str = "SELECT id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, expires_at, rowid
    FROM conversation_cache WHERE user_id = ?1 AND platform = 'guest' AND (expires_at IS NULL OR expires_at > ?2)";
pub(super) const CONVERSATION_BY_ID: &str =
    "SELECT id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, expires_at, rowid
    FROM conversation_cache WHERE id = ?1 AND (expires_at IS NULL OR expires_at > ?2)";
pub(super) const CONVERSATIONS_OF_USER: &str = "SELECT id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, expires_at
    FROM conversation_cache WHERE user_id = ?1 AND platform = 'authenticated' AND id < ?2 ORDER BY id DESC LIMIT ?3";
pub(super) const MESSAGES_UP: &str =
    "SELECT id, sequence, role, content, sent_at, created_at, metadata, external_id
    FROM message_cache WHERE conversation_id = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT ?3";
pub(super) const MESSAGES_DOWN: &str = "SELECT id, sequence, role, content, sent_at, created_at, metadata, external_id
    FROM message_cache WHERE conversation_id = ?1 AND sequence < ?2 ORDER BY sequence DESC LIMIT ?3";
pub(super) const MESSAGE_SIZES_UP: &str =
    "SELECT sequence, octet_length(content) + coalesce(octet_length(metadata), 0) + coalesce(octet_length(external_id), 0)
    FROM message_cache WHERE conversation_id = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT ?3";
pub(super) const MESSAGE_SIZES_DOWN: &str = "SELECT sequence, octet_length(content) + coalesce(octet_length(metadata), 0) + coalesce(octet_length(external_id), 0)
    FROM message_cache WHERE conversation_id = ?1 AND sequence < ?2 ORDER BY sequence DESC LIMIT ?3";

// Erasing and migrating.

pub(super) const GUEST_CONVERSATION: &str = "SELECT id FROM conversation_cache
    WHERE user_id = ?1 AND platform = 'guest' AND (expires_at IS NULL OR expires_at > ?2)";
pub(super) const GUEST_CONVERSATION_EVEN_ENDED: &str =
    "SELECT id FROM conversation_cache WHERE user_id = ?1 AND platform = 'guest'";
pub(super) const EXPIRED_CONVERSATIONS: &str = "SELECT id, user_id FROM conversation_cache WHERE expires_at <= ?1 AND platform = 'guest' ORDER BY expires_at LIMIT ?2";
pub(super) const ERASE_VECTORS: &str = "DELETE FROM cache_embeddings WHERE id IN (SELECT id FROM message_cache WHERE conversation_id = ?1)";
pub(super) const ERASE_NOTES: &str = "DELETE FROM embedding_notes WHERE message_id IN (SELECT id FROM message_cache WHERE conversation_id = ?1)";
pub(super) const ERASE_MAPPINGS: &str = "DELETE FROM cache_content_mapping WHERE id IN (SELECT id FROM message_cache WHERE conversation_id = ?1)";
pub(super) const ERASE_MESSAGES: &str = "DELETE FROM message_cache WHERE conversation_id = ?1";
pub(super) const ERASE_CONVERSATION: &str = "DELETE FROM conversation_cache WHERE id = ?1";
pub(super) const OWNS_AS_USER: &str = "SELECT EXISTS (SELECT 1 FROM conversation_cache WHERE user_id = ?1 AND platform = 'authenticated')";
pub(super) const ERASE_USAGE: &str =
    "DELETE FROM usage_metrics WHERE user_id = ?1 AND tier = 'guest'";
pub(super) const COUNT_MESSAGES: &str = "SELECT count(*), coalesce(sum(iif(role = 'assistant', 0, tokens)), 0),
        coalesce(sum(iif(role = 'assistant', tokens, 0)), 0) FROM message_cache WHERE conversation_id = ?1";
pub(super) const USAGE_SUBTRACT: &str = "UPDATE usage_metrics SET total_requests = max(0, total_requests - ?2),
        cache_misses = max(0, cache_misses - ?2), total_input_tokens = max(0, total_input_tokens - ?3),
        total_output_tokens = max(0, total_output_tokens - ?4), total_tokens = max(0, total_tokens - ?3 - ?4),
        monthly_requests_used = iif(substr(updated_at, 1, 7) = substr(?5, 1, 7), monthly_requests_used, 0), updated_at = ?5
    WHERE user_id = ?1";
pub(super) const USAGE_ADD: &str = "INSERT INTO usage_metrics (id, user_id, total_requests, cache_hits, cache_misses,
        total_input_tokens, total_output_tokens, total_tokens, tier, monthly_requests_used, created_at, updated_at)
    VALUES (?1, ?2, ?3, 0, ?3, ?4, ?5, ?4 + ?5, 'free', 0, ?6, ?6)
    ON CONFLICT (user_id) DO UPDATE SET total_requests = total_requests + ?3, cache_misses = cache_misses + ?3,
        total_input_tokens = total_input_tokens + ?4, total_output_tokens = total_output_tokens + ?5,
        total_tokens = total_tokens + ?4 + ?5,
        monthly_requests_used = iif(substr(updated_at, 1, 7) = substr(?6, 1, 7), monthly_requests_used, 0), updated_at = ?6,
        tier = iif(tier = 'guest', 'free', tier)";
pub(super) const MIGRATE_CONVERSATION: &str =
    "UPDATE conversation_cache SET user_id = ?2, platform = 'authenticated',
        expires_at = NULL, list_expires_at = NULL WHERE id = ?1";
pub(super) const MIGRATE_MAPPINGS: &str =
    "UPDATE cache_content_mapping SET user_id = ?2, is_synced = 0
    WHERE id IN (SELECT id FROM message_cache WHERE conversation_id = ?1)";
pub(super) const MIGRATE_USAGE: &str = "INSERT INTO usage_metrics (id, user_id, total_requests, cache_hits, cache_misses,
        total_input_tokens, total_output_tokens, total_tokens, average_response_time_ms, timed_requests, cache_hit_rate,
        total_cost, cache_cost, tier, monthly_requests_used, lookup_misses, tokens_saved, created_at, updated_at)
    SELECT ?3, ?2, total_requests, cache_hits, cache_misses, total_input_tokens, total_output_tokens, total_tokens,
        average_response_time_ms, timed_requests, cache_hit_rate, total_cost, cache_cost, 'free',
        iif(substr(updated_at, 1, 7) = substr(?4, 1, 7), monthly_requests_used, 0), lookup_misses, tokens_saved, ?4, ?4
    FROM usage_metrics WHERE user_id = ?1
    ON CONFLICT (user_id) DO UPDATE SET total_requests = total_requests + excluded.total_requests,
        cache_hits = cache_hits + excluded.cache_hits, cache_misses = cache_misses + excluded.cache_misses,
        total_input_tokens = total_input_tokens + excluded.total_input_tokens,
        total_output_tokens = total_output_tokens + excluded.total_output_tokens,
        total_tokens = total_tokens + excluded.total_tokens,
        average_response_time_ms = iif(timed_requests + excluded.timed_requests > 0,
            (average_response_time_ms * timed_requests + excluded.average_response_time_ms * excluded.timed_requests)
                / (timed_requests + excluded.timed_requests), 0.0),
        timed_requests = timed_requests + excluded.timed_requests,
        cache_hit_rate = cast(cache_hits + excluded.cache_hits AS REAL)
            / max(1, cache_hits + excluded.cache_hits + cache_misses + excluded.cache_misses),
        total_cost = total_cost + excluded.total_cost, cache_cost = cache_cost + excluded.cache_cost,
        lookup_misses = lookup_misses + excluded.lookup_misses, tokens_saved = tokens_saved + excluded.tokens_saved,
        monthly_requests_used = iif(substr(updated_at, 1, 7) = substr(?4, 1, 7), monthly_requests_used, 0)
            + excluded.monthly_requests_used, updated_at = ?4, tier = iif(tier = 'guest', 'free', tier)";
pub(super) const USAGE_DELETE: &str = "DELETE FROM usage_metrics WHERE user_id = ?1";
pub(super) const USAGE_PROMOTE: &str =
    "UPDATE usage_metrics SET tier = 'free' WHERE user_id = ?1 AND tier = 'guest'";
pub(super) const MIGRATION_ADD: &str =
    "INSERT INTO cache_migrations (id, version, migration_type, status, records_migrated,
        records_failed, started_at, completed_at, source, destination, notes)
    VALUES (?1, '1', 'guest_to_user', ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8)";

// Vectors.

pub(super) const VECTORS_PENDING: &str = "SELECT m.id, m.conversation_id, m.content, n.attempts
    FROM embedding_notes n JOIN message_cache m ON m.id = n.message_id
    WHERE n.state = 'pending' AND n.message_id > ?1 ORDER BY n.message_id LIMIT ?2";
pub(super) const VECTORS_MISSING: &str = "SELECT m.id, m.conversation_id, m.content, coalesce(n.attempts, 0)
    FROM message_cache m
        LEFT JOIN cache_embeddings e ON e.id = m.id AND e.embedding_model = ?3
        LEFT JOIN embedding_notes n ON n.message_id = m.id
    WHERE m.id > ?1 AND e.id IS NULL AND NOT (coalesce(n.state, '') = 'none' AND n.model = ?3) ORDER BY m.id LIMIT ?2";
pub(super) const VECTORS_MISSING_COUNT: &str = "SELECT count(*)
    FROM message_cache m
        LEFT JOIN cache_embeddings e ON e.id = m.id AND e.embedding_model = ?1
        LEFT JOIN embedding_notes n ON n.message_id = m.id
    WHERE e.id IS NULL AND NOT (coalesce(n.state, '') = 'none' AND n.model = ?1)";
pub(super) const MESSAGE_FOR_VECTOR: &str =
    "SELECT m.conversation_id, e.id IS NOT NULL FROM message_cache m
        LEFT JOIN cache_embeddings e ON e.id = m.id AND e.embedding_model = ?2 WHERE m.id = ?1";
pub(super) const VECTOR_DELETE: &str = "DELETE FROM cache_embeddings WHERE id = ?1";
pub(super) const NOTE_DELETE: &str = "DELETE FROM embedding_notes WHERE message_id = ?1";

// Audit.

pub(super) const AUDITS_AFTER: &str =
    "SELECT id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, expires_at, list_from, list_expires_at
    FROM conversation_cache WHERE id > ?1 ORDER BY id";
pub(super) const AUDITS_OF_GUEST: &str =
    "SELECT id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, expires_at, list_from, list_expires_at
    FROM conversation_cache WHERE (user_id = ?1 AND platform = 'guest')
        OR (session_id = ?1 AND platform = 'authenticated') ORDER BY id";
pub(super) const AUDIT_BY_ID: &str =
    "SELECT id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, expires_at, list_from, list_expires_at
    FROM conversation_cache WHERE id = ?1";
pub(super) const AUDITED_MESSAGES: &str = "SELECT m.id, m.sequence, m.role, m.message_hash, m.content, m.tokens, m.sent_at,
        m.created_at, e.embedding_model, e.embedding_dim, length(e.embedding), n.state, n.cause, p.user_id, p.is_synced, m.external_id
    FROM message_cache m LEFT JOIN cache_embeddings e ON e.id = m.id
        LEFT JOIN embedding_notes n ON n.message_id = m.id
        LEFT JOIN cache_content_mapping p ON p.id = m.id AND p.cache_id = m.id
    WHERE m.conversation_id = ?1 ORDER BY m.sequence";
pub(super) const OWNERS_AFTER: &str = "SELECT user_id FROM usage_metrics WHERE user_id > ?1
    UNION SELECT user_id FROM conversation_cache WHERE user_id > ?1 AND platform = 'guest'
    UNION SELECT user_id FROM conversation_cache WHERE user_id > ?1 AND platform = 'authenticated'
    ORDER BY user_id LIMIT ?2";
pub(super) const USAGE_GET: &str =
    "SELECT total_requests, cache_hits, cache_misses, total_input_tokens, total_output_tokens,
        monthly_requests_used, updated_at, lookup_misses, tokens_saved FROM usage_metrics WHERE user_id = ?1";
pub(super) const USAGE_COUNTED: &str =
    "SELECT count(*), coalesce(sum(iif(m.role = 'assistant', 0, m.tokens)), 0),
        coalesce(sum(iif(m.role = 'assistant', m.tokens, 0)), 0)
    FROM (SELECT id FROM conversation_cache WHERE user_id = ?1 AND platform = 'guest'
            UNION ALL SELECT id FROM conversation_cache WHERE user_id = ?1 AND platform = 'authenticated') owned
        JOIN message_cache m ON m.conversation_id = owned.id";
pub(super) const ORPHANED_MESSAGES: &str =
    "SELECT id, 'no conversation ' || conversation_id FROM message_cache m
    WHERE NOT EXISTS (SELECT 1 FROM conversation_cache c WHERE c.id = m.conversation_id) LIMIT ?1";
pub(super) const ORPHANED_VECTORS: &str =
    "SELECT id, 'no message ' || message_id || ' in conversation ' || conversation_id FROM cache_embeddings e
    WHERE NOT EXISTS (SELECT 1 FROM message_cache m WHERE m.id = e.id AND m.id = e.message_id
        AND m.conversation_id = e.conversation_id) LIMIT ?1";
pub(super) const ORPHANED_NOTES: &str =
    "SELECT message_id, 'no message ' || message_id FROM embedding_notes n
    WHERE NOT EXISTS (SELECT 1 FROM message_cache m WHERE m.id = n.message_id) LIMIT ?1";
pub(super) const ORPHANED_MAPPINGS: &str =
    "SELECT id, 'no message ' || cache_id FROM cache_content_mapping p
    WHERE NOT EXISTS (SELECT 1 FROM message_cache m WHERE m.id = p.id) LIMIT ?1";
pub(super) const EMPTY_CONVERSATIONS: &str =
    "SELECT id, 'no message at all' FROM conversation_cache c
    WHERE NOT EXISTS (SELECT 1 FROM message_cache m WHERE m.conversation_id = c.id) LIMIT ?1";
pub(super) const METRICS_AUDIT: &str = "WITH hours AS
        (SELECT DISTINCT substr(created_at, 1, 13) || ':00:00.000Z' AS hour FROM message_cache)
    SELECT (SELECT count(*) FROM hours),
        (SELECT count(*) FROM hours JOIN cache_metrics ON recorded_at = hour),
        coalesce((SELECT total_entries FROM cache_metrics ORDER BY recorded_at DESC LIMIT 1), 0),
        (SELECT count(*) FROM message_cache), coalesce((SELECT sum(total_requests) FROM cache_metrics), 0)";
pub(super) const METRICS_MISSING: &str =
    "SELECT DISTINCT substr(created_at, 1, 13) || ':00:00.000Z' AS hour
    FROM message_cache WHERE NOT EXISTS (SELECT 1 FROM cache_metrics
        WHERE recorded_at = substr(created_at, 1, 13) || ':00:00.000Z') ORDER BY hour LIMIT 100";
pub(super) const HAS_HOUR: &str =
    "SELECT EXISTS (SELECT 1 FROM cache_metrics WHERE recorded_at = ?1)";

// Repair.

pub(super) const REPAIR_COUNTERS: &str =
    "UPDATE conversation_cache SET message_count = ?2, total_tokens = ?3
    WHERE id = ?1 AND conversation_hash = ?4";
pub(super) const REPAIR_WINDOW: &str =
    "UPDATE conversation_cache SET list_from = ?2, list_expires_at = ?3
    WHERE id = ?1 AND platform = 'guest' AND conversation_hash = ?4";
pub(super) const REPAIR_USAGE: &str = "INSERT INTO usage_metrics (id, user_id, total_requests, cache_hits, cache_misses,
        total_input_tokens, total_output_tokens, total_tokens, tier, monthly_requests_used, created_at, updated_at)
    VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?5 + ?6, iif(EXISTS (SELECT 1 FROM conversation_cache
        WHERE user_id = ?2 AND platform = 'authenticated'), 'free', 'guest'), 0, ?7, ?7)
    ON CONFLICT (user_id) DO UPDATE SET total_requests = ?3 + cache_hits + lookup_misses, cache_misses = ?4 + lookup_misses,
        total_input_tokens = ?5, total_output_tokens = ?6, total_tokens = ?5 + ?6,
        cache_hit_rate = cast(cache_hits AS REAL) / max(1, cache_hits + ?4 + lookup_misses),
        monthly_requests_used = iif(substr(updated_at, 1, 7) = substr(?7, 1, 7), monthly_requests_used, 0), updated_at = ?7";
pub(super) const REPAIR_MAPPING: &str =
    "INSERT INTO cache_content_mapping (id, cache_type, cache_id, user_id, cache_backend,
        content_backend, is_synced, last_synced_at, created_at)
    SELECT id, 'message', id, ?2, ?3, 'sqlite', ?4, NULL, ?5 FROM message_cache WHERE id = ?1
    ON CONFLICT (id) DO UPDATE SET cache_id = excluded.cache_id, user_id = excluded.user_id, is_synced = excluded.is_synced";
pub(super) const MAPPING_DELETE: &str = "DELETE FROM cache_content_mapping WHERE id = ?1";
pub(super) const HOURS_WITHOUT_ROW: &str = "SELECT hour, stored FROM
        (SELECT substr(created_at, 1, 13) || ':00:00.000Z' AS hour, count(*) AS stored FROM message_cache GROUP BY hour)
    WHERE NOT EXISTS (SELECT 1 FROM cache_metrics WHERE recorded_at = hour)";
pub(super) const REPAIR_HOUR: &str = "INSERT INTO cache_metrics (id, recorded_at, total_entries, cache_hits, cache_misses,
        total_requests, avg_response_time, timed_requests, storage_size_mb) VALUES (?1, ?2, 0, 0, ?3, ?3, 0, 0, 0)";
pub(super) const REPAIR_ENTRIES: &str =
    "UPDATE cache_metrics SET total_entries = (SELECT count(*) FROM message_cache)
    WHERE recorded_at = (SELECT max(recorded_at) FROM cache_metrics)";
