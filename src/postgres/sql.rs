//! Every SQL text of this backend as a named constant. None is built at run time. Statements operate on sets: a batch is passed
//! as arrays, so that a thousand messages take as many round trips as one.

mod corpus;
mod prompts;
mod search;
mod settings;
mod text;
mod vectors;

pub(super) use corpus::*;
pub(super) use prompts::*;
pub(super) use search::*;
pub(super) use settings::*;
pub(super) use text::*;
pub(super) use vectors::*;

// Transactions. The limits are per transaction, because a pooler keeps no session settings.

pub(super) const BEGIN_WRITE: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '5s';
    SET LOCAL lock_timeout = '3s'; SET LOCAL idle_in_transaction_session_timeout = '10s'";
pub(super) const BEGIN_READ: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '5s';
    SET LOCAL idle_in_transaction_session_timeout = '10s'";
pub(super) const BEGIN_LONG_READ: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '10min';
    SET LOCAL idle_in_transaction_session_timeout = '10min'";
pub(super) const BEGIN_LONG_WRITE: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '10min';
    SET LOCAL idle_in_transaction_session_timeout = '10min'";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

// Metadata.

/// Held while the schema is migrated: nodes that start together wait for each other.
pub(super) const SCHEMA_LOCK: &str = "SELECT pg_advisory_xact_lock(7453010348712394591)::text";
pub(super) const DURABILITY: &str =
    "SELECT current_setting('fsync'), current_setting('full_page_writes'),
        current_setting('synchronous_commit')";
pub(super) const HEALTH: &str =
    "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
        has_table_privilege('conversation_cache', 'INSERT')
        AND has_table_privilege('conversation_cache', 'UPDATE')
        AND has_table_privilege('message_cache', 'INSERT')
        AND has_table_privilege('cache_content_mapping', 'INSERT')";
pub(super) const SIZE: &str = "SELECT pg_database_size(current_database())";
pub(super) const ENTRIES: &str =
    "SELECT greatest(0, coalesce(sum(entries), 0))::bigint FROM cache_metrics_parts";

// A database for a measurement. Its name is fixed: a name cannot be a parameter.

pub(super) const SCRATCH_MAKE: &str = "CREATE DATABASE guestbook_bench";
pub(super) const SCRATCH_DROP: &str = "DROP DATABASE IF EXISTS guestbook_bench WITH (FORCE)";

// Recording, before the plan.

/// Locks and returns the rows of a batch's guests and of the conversations that it has sync marks for.
pub(super) const CHATS_LOCK: &str = "SELECT * FROM guestbook_lock($1, $2)";
/// See schema/postgres/005_external_ids.sql.
pub(super) const MESSAGES_SENT: &str = "SELECT * FROM guestbook_sent($1, $2)";
/// How many messages of a batch are stored, and how many of these have a generated id.
pub(super) const MESSAGES_STORED: &str = "SELECT count(*), count(*) FILTER (WHERE is_ours)
    FROM unnest($1, $2, $3, $4, $5) AS wanted (id, conversation_id, sequence, hash, is_ours)
        JOIN message_cache m ON m.id = wanted.id AND m.conversation_id = wanted.conversation_id
            AND m.sequence = wanted.sequence AND m.message_hash = wanted.hash";

// Recording, after the plan, all at once.

/// Under other settings than the batch's, no expectation holds.
pub(super) const EXPECT: &str = "SELECT guestbook_expect($1, CASE WHEN
        coalesce((SELECT value FROM guestbook_meta WHERE key = 'settings_version'), '0') = $7
        THEN $2 ELSE array_fill('other settings'::text, ARRAY[cardinality($2)]) END, $3, $4, $5, $6)::text";
pub(super) const EXPECT_UNSENT: &str = "SELECT guestbook_expect_unsent($1, $2)::text";
/// See schema/postgres/005_external_ids.sql.
pub(super) const RECORD: &str = "SELECT * FROM guestbook_record($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
    $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37,
    $38, $39, $40, $41, $42, $43, $44, $45, $46, $47)";
pub(super) const VECTORS_PUT: &str = "INSERT INTO cache_embeddings (id, conversation_id, message_id, embedding,
        embedding_model, embedding_dim, created_at)
    SELECT id, conversation_id, id, embedding, $4, length(embedding), $5
    FROM unnest($1, $2, $3) AS new (id, conversation_id, embedding)
    ON CONFLICT (id) DO UPDATE SET embedding = excluded.embedding, embedding_model = excluded.embedding_model,
        embedding_dim = excluded.embedding_dim, created_at = excluded.created_at";
pub(super) const NOTES_PUT: &str = "INSERT INTO embedding_notes (message_id, state, model, attempts, cause, updated_at)
    SELECT id, state, $5, attempts, cause, $6 FROM unnest($1, $2, $3, $4) AS new (id, state, attempts, cause)
    ON CONFLICT (message_id) DO UPDATE SET state = excluded.state, model = excluded.model, attempts = excluded.attempts,
        cause = excluded.cause, updated_at = excluded.updated_at";
/// A chat may be long, and cannot be erased by half, so an erasure gets more time.
pub(super) const TAKE_TIME: &str = "SET LOCAL statement_timeout = '10min'";
/// Before the messages' derived rows, in the order in which vectors are written.
pub(super) const MESSAGES_LOCK: &str = "SELECT count(*) FROM
    (SELECT FROM message_cache WHERE conversation_id = ANY ($1) ORDER BY id FOR UPDATE) locked";
/// In one order, before any of them is changed.
pub(super) const USAGE_LOCK: &str =
    "SELECT user_id FROM usage_metrics WHERE user_id = ANY ($1) ORDER BY user_id FOR UPDATE";
pub(super) const USAGE_TIME: &str = "SELECT guestbook_ride($1, $2, $3)::text";
/// Adds to one part of the hour's row; see the schema for why there are parts.
pub(super) const METRICS_ADD: &str = "INSERT INTO cache_metrics_parts AS p (id, recorded_at, part, entries, cache_hits,
        cache_misses, timed_requests, timed_ms, storage_size_mb)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (recorded_at, part) DO UPDATE SET entries = p.entries + excluded.entries,
        cache_hits = p.cache_hits + excluded.cache_hits, cache_misses = p.cache_misses + excluded.cache_misses,
        timed_requests = p.timed_requests + excluded.timed_requests, timed_ms = p.timed_ms + excluded.timed_ms,
        storage_size_mb = excluded.storage_size_mb";

// Session lists.

pub(super) const MARK_SYNCED: &str = "SELECT guestbook_settle($1, $2, $3, $4)::text";
pub(super) const SYNCED_LOCK: &str =
    "SELECT id FROM conversation_cache WHERE id = ANY ($1) ORDER BY id FOR UPDATE";
pub(super) const OUTBOX_ENTRIES: &str = "SELECT user_id, id, list_from, list_expires_at, message_count, list_synced
    FROM conversation_cache
    WHERE platform = 'guest' AND list_synced < message_count AND list_expires_at IS NOT NULL AND list_expires_at > $2 AND id > $1
        AND (expires_at IS NULL OR expires_at > $2)
    ORDER BY id LIMIT $3";
pub(super) const LIST_ROWS: &str =
    "SELECT user_id, id, list_from, list_expires_at, message_count, list_synced
    FROM conversation_cache WHERE platform = 'guest' AND list_expires_at > $2 AND id > $1
        AND (expires_at IS NULL OR expires_at > $2) ORDER BY id LIMIT $3";
pub(super) const LIST_ROW: &str =
    "SELECT user_id, id, list_from, list_expires_at, message_count, list_synced
    FROM conversation_cache WHERE user_id = $1 AND platform = 'guest' AND list_expires_at > $2
        AND (expires_at IS NULL OR expires_at > $2)";
pub(super) const LISTS_EXPIRED: &str =
    "SELECT 1 FROM conversation_cache WHERE list_expires_at <= $1 LIMIT 1";
/// Rows locked by another transaction are left for the next sweep.
pub(super) const LISTS_LAPSE: &str = "WITH due AS (SELECT id, list_from FROM conversation_cache WHERE list_expires_at <= $1
            ORDER BY list_expires_at LIMIT $2 FOR UPDATE SKIP LOCKED),
        gone AS (UPDATE conversation_cache c SET list_expires_at = NULL FROM due WHERE c.id = due.id RETURNING c.id),
        unsynced AS (UPDATE cache_content_mapping p SET is_synced = false FROM message_cache m, due
            WHERE m.conversation_id = due.id AND m.sequence >= due.list_from AND p.id = m.id AND p.is_synced)
    SELECT count(*) FROM gone";
pub(super) const REMOVALS: &str = "SELECT guest_id FROM list_removals ORDER BY guest_id LIMIT $1";
pub(super) const REMOVALS_ADD: &str =
    "INSERT INTO list_removals (guest_id, requested_at) SELECT unnest($1), $2
    ON CONFLICT (guest_id) DO NOTHING";
pub(super) const REMOVALS_DONE: &str = "DELETE FROM list_removals WHERE guest_id = ANY ($1)";

// Reading.

pub(super) const CONVERSATION_OF_GUEST: &str = "SELECT id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, expires_at
    FROM conversation_cache WHERE user_id = $1 AND platform = 'guest' AND (expires_at IS NULL OR expires_at > $2)";
pub(super) const CONVERSATION_BY_ID: &str =
    "SELECT id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, expires_at
    FROM conversation_cache WHERE id = $1 AND (expires_at IS NULL OR expires_at > $2)";
pub(super) const CONVERSATIONS_OF_USER: &str = "SELECT id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, expires_at
    FROM conversation_cache WHERE user_id = $1 AND platform = 'authenticated' AND id < $2 ORDER BY id DESC LIMIT $3";
pub(super) const MESSAGES_OF_GUEST_UP: &str = "SELECT id, sequence, role, content, sent_at, created_at, metadata, external_id
    FROM message_cache
    WHERE conversation_id = (SELECT id FROM conversation_cache WHERE user_id = $1 AND platform = 'guest')
        AND sequence >= $2 ORDER BY sequence LIMIT $3";
pub(super) const MESSAGES_OF_GUEST_DOWN: &str = "SELECT id, sequence, role, content, sent_at, created_at, metadata, external_id
    FROM message_cache
    WHERE conversation_id = (SELECT id FROM conversation_cache WHERE user_id = $1 AND platform = 'guest')
        AND sequence < $2 ORDER BY sequence DESC LIMIT $3";
pub(super) const MESSAGES_UP: &str =
    "SELECT id, sequence, role, content, sent_at, created_at, metadata, external_id
    FROM message_cache WHERE conversation_id = $1 AND sequence >= $2 ORDER BY sequence LIMIT $3";
pub(super) const MESSAGES_DOWN: &str = "SELECT id, sequence, role, content, sent_at, created_at, metadata, external_id
    FROM message_cache WHERE conversation_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3";
pub(super) const MESSAGE_SIZES_UP: &str = "SELECT sequence, octet_length(content)::int8 + coalesce(octet_length(metadata), 0) + coalesce(octet_length(external_id), 0) FROM message_cache
    WHERE conversation_id = $1 AND sequence >= $2 ORDER BY sequence LIMIT $3";
pub(super) const MESSAGE_SIZES_DOWN: &str = "SELECT sequence, octet_length(content)::int8 + coalesce(octet_length(metadata), 0) + coalesce(octet_length(external_id), 0)
    FROM message_cache WHERE conversation_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3";

// Erasing. $1 holds conversations, $2 their owners, in the same order.

pub(super) const GUEST_LOCK: &str = "SELECT id, expires_at FROM conversation_cache
    WHERE user_id = $1 AND platform = 'guest' FOR UPDATE";
/// While a longer retention is being applied, some chats that are to stay do not have it yet.
pub(super) const EXPIRED: &str =
    "SELECT 1 FROM conversation_cache WHERE expires_at <= $1 AND platform = 'guest'
        AND NOT EXISTS (SELECT FROM guestbook_meta WHERE key = 'retention_cursor') LIMIT 1";
/// Rows locked by another transaction are left for the next sweep.
pub(super) const EXPIRED_LOCK: &str = "SELECT id, user_id, message_count FROM conversation_cache
    WHERE expires_at <= $1 AND platform = 'guest'
        AND NOT EXISTS (SELECT FROM guestbook_meta WHERE key = 'retention_cursor')
    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED";
/// If a user with conversations has the same id, only the chat's share is subtracted.
pub(super) const USAGE_SUBTRACT: &str = "UPDATE usage_metrics u SET
        total_requests = greatest(0, u.total_requests - s.messages), cache_misses = greatest(0, u.cache_misses - s.messages),
        total_input_tokens = greatest(0, u.total_input_tokens - s.input),
        total_output_tokens = greatest(0, u.total_output_tokens - s.output),
        total_tokens = greatest(0, u.total_tokens - s.input - s.output),
        monthly_requests_used = CASE
            WHEN date_trunc('month', u.updated_at AT TIME ZONE 'UTC') = date_trunc('month', $3 AT TIME ZONE 'UTC')
            THEN u.monthly_requests_used ELSE 0 END,
        updated_at = $3
    FROM (SELECT gone.owner, count(m.id) AS messages,
            coalesce(sum(m.tokens) FILTER (WHERE m.role <> 'assistant'), 0)::bigint AS input,
            coalesce(sum(m.tokens) FILTER (WHERE m.role = 'assistant'), 0)::bigint AS output
        FROM unnest($1, $2) AS gone (id, owner) LEFT JOIN message_cache m ON m.conversation_id = gone.id
        GROUP BY gone.owner) s
    WHERE u.user_id = s.owner AND EXISTS
        (SELECT FROM conversation_cache o WHERE o.user_id = s.owner AND o.platform = 'authenticated')";
pub(super) const USAGE_ERASE: &str = "WITH gone AS (DELETE FROM usage_metrics u
        WHERE u.user_id = ANY ($1) AND u.tier = 'guest' AND NOT EXISTS
            (SELECT FROM conversation_cache o WHERE o.user_id = u.user_id AND o.platform = 'authenticated')
        RETURNING 1) SELECT count(*) FROM gone";
pub(super) const VECTORS_ERASE: &str =
    "WITH gone AS (DELETE FROM cache_embeddings e USING message_cache m
        WHERE m.conversation_id = ANY ($1) AND e.id = m.id RETURNING 1) SELECT count(*) FROM gone";
pub(super) const NOTES_ERASE: &str = "DELETE FROM embedding_notes n USING message_cache m
    WHERE m.conversation_id = ANY ($1) AND n.message_id = m.id";
pub(super) const MAPPINGS_ERASE: &str =
    "WITH gone AS (DELETE FROM cache_content_mapping p USING message_cache m
        WHERE m.conversation_id = ANY ($1) AND p.id = m.id RETURNING 1) SELECT count(*) FROM gone";
/// Erases the messages and subtracts them from the hour's count in one statement.
pub(super) const MESSAGES_ERASE: &str = "WITH gone AS (DELETE FROM message_cache WHERE conversation_id = ANY ($1) RETURNING 1),
        counted AS (INSERT INTO cache_metrics_parts AS p (id, recorded_at, part, entries, cache_hits, cache_misses,
                timed_requests, timed_ms, storage_size_mb)
            SELECT $2, $3, $4, -count(*), 0, 0, 0, 0, $5 FROM gone
            ON CONFLICT (recorded_at, part) DO UPDATE SET entries = p.entries + excluded.entries)
    SELECT count(*) FROM gone";
pub(super) const CHATS_ERASE: &str =
    "WITH gone AS (DELETE FROM conversation_cache WHERE id = ANY ($1) RETURNING 1)
    SELECT count(*) FROM gone";

// Migrating.

pub(super) const OWNS_AS_USER: &str = "SELECT EXISTS
    (SELECT FROM conversation_cache WHERE user_id = $1 AND platform = 'authenticated')";
pub(super) const COUNT_MESSAGES: &str = "SELECT count(*),
        coalesce(sum(tokens) FILTER (WHERE role <> 'assistant'), 0)::bigint,
        coalesce(sum(tokens) FILTER (WHERE role = 'assistant'), 0)::bigint
    FROM message_cache WHERE conversation_id = $1";
pub(super) const USAGE_ADD: &str = "INSERT INTO usage_metrics AS u (id, user_id, total_requests, cache_hits, cache_misses,
        total_input_tokens, total_output_tokens, total_tokens, tier, monthly_requests_used, created_at, updated_at)
    VALUES ($1, $2, $3, 0, $3, $4, $5, $4 + $5, 'free', 0, $6, $6)
    ON CONFLICT (user_id) DO UPDATE SET total_requests = u.total_requests + $3, cache_misses = u.cache_misses + $3,
        total_input_tokens = u.total_input_tokens + $4, total_output_tokens = u.total_output_tokens + $5,
        total_tokens = u.total_tokens + $4 + $5,
        monthly_requests_used = CASE
            WHEN date_trunc('month', u.updated_at AT TIME ZONE 'UTC') = date_trunc('month', $6 AT TIME ZONE 'UTC')
            THEN u.monthly_requests_used ELSE 0 END,
        updated_at = $6, tier = CASE u.tier WHEN 'guest' THEN 'free' ELSE u.tier END";
pub(super) const MIGRATE_CONVERSATION: &str =
    "UPDATE conversation_cache SET user_id = $2, platform = 'authenticated',
        expires_at = NULL, list_expires_at = NULL WHERE id = $1";
pub(super) const MIGRATE_MAPPINGS: &str =
    "UPDATE cache_content_mapping p SET user_id = $2, is_synced = false
    FROM message_cache m WHERE m.conversation_id = $1 AND p.id = m.id";
pub(super) const MIGRATE_USAGE: &str = "INSERT INTO usage_metrics AS u (id, user_id, total_requests, cache_hits, cache_misses,
        total_input_tokens, total_output_tokens, total_tokens, average_response_time_ms, timed_requests, cache_hit_rate,
        total_cost, cache_cost, tier, monthly_requests_used, lookup_misses, tokens_saved, created_at, updated_at)
    SELECT $3, $2, total_requests, cache_hits, cache_misses, total_input_tokens, total_output_tokens, total_tokens,
        average_response_time_ms, timed_requests, cache_hit_rate, total_cost, cache_cost, 'free',
        CASE WHEN date_trunc('month', updated_at AT TIME ZONE 'UTC') = date_trunc('month', $4 AT TIME ZONE 'UTC')
            THEN monthly_requests_used ELSE 0 END, lookup_misses, tokens_saved, $4, $4
    FROM usage_metrics WHERE user_id = $1
    ON CONFLICT (user_id) DO UPDATE SET total_requests = u.total_requests + excluded.total_requests,
        cache_hits = u.cache_hits + excluded.cache_hits, cache_misses = u.cache_misses + excluded.cache_misses,
        total_input_tokens = u.total_input_tokens + excluded.total_input_tokens,
        total_output_tokens = u.total_output_tokens + excluded.total_output_tokens,
        total_tokens = u.total_tokens + excluded.total_tokens,
        average_response_time_ms = CASE WHEN u.timed_requests + excluded.timed_requests > 0 THEN
            (u.average_response_time_ms * u.timed_requests + excluded.average_response_time_ms * excluded.timed_requests)
                / (u.timed_requests + excluded.timed_requests) ELSE 0 END,
        timed_requests = u.timed_requests + excluded.timed_requests,
        cache_hit_rate = (u.cache_hits + excluded.cache_hits)::float8
            / greatest(1, u.cache_hits + excluded.cache_hits + u.cache_misses + excluded.cache_misses),
        total_cost = u.total_cost + excluded.total_cost, cache_cost = u.cache_cost + excluded.cache_cost,
        lookup_misses = u.lookup_misses + excluded.lookup_misses, tokens_saved = u.tokens_saved + excluded.tokens_saved,
        monthly_requests_used = excluded.monthly_requests_used + CASE
            WHEN date_trunc('month', u.updated_at AT TIME ZONE 'UTC') = date_trunc('month', $4 AT TIME ZONE 'UTC')
            THEN u.monthly_requests_used ELSE 0 END,
        updated_at = $4, tier = CASE u.tier WHEN 'guest' THEN 'free' ELSE u.tier END";
pub(super) const USAGE_DELETE: &str = "DELETE FROM usage_metrics WHERE user_id = $1";
pub(super) const USAGE_PROMOTE: &str =
    "UPDATE usage_metrics SET tier = 'free' WHERE user_id = $1 AND tier = 'guest'";
pub(super) const MIGRATION_ADD: &str =
    "INSERT INTO cache_migrations (id, version, migration_type, status, records_migrated,
        records_failed, started_at, completed_at, source, destination, notes)
    VALUES ($1, '1', 'guest_to_user', $2, $3, $4, $5, $5, $6, $7, $8)";

// Audit.

/// The conversations that bring their messages to $2, by their own counters.
pub(super) const AUDITS_AFTER: &str =
    "SELECT id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, expires_at, list_from, list_expires_at
    FROM conversation_cache WHERE id > $1 ORDER BY id LIMIT $2";
pub(super) const AUDITS_OF_GUEST: &str =
    "SELECT id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, expires_at, list_from, list_expires_at
    FROM conversation_cache WHERE (user_id = $1 AND platform = 'guest')
        OR (session_id = $1 AND platform = 'authenticated') ORDER BY id";
pub(super) const AUDIT_BY_ID: &str =
    "SELECT id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, expires_at, list_from, list_expires_at
    FROM conversation_cache WHERE id = $1";
pub(super) const AUDITED_MESSAGES: &str = "SELECT m.id, m.sequence, m.role, m.message_hash, m.content, m.tokens, m.sent_at,
        m.created_at, e.embedding_model, e.embedding_dim, length(e.embedding)::bigint, n.state, n.cause, p.user_id,
        p.is_synced, m.conversation_id, m.external_id
    FROM message_cache m LEFT JOIN cache_embeddings e ON e.id = m.id
        LEFT JOIN embedding_notes n ON n.message_id = m.id
        LEFT JOIN cache_content_mapping p ON p.id = m.id AND p.cache_id = m.id
    WHERE m.conversation_id = ANY ($1) ORDER BY m.conversation_id, m.sequence";
pub(super) const AUDITED_MESSAGES_UP: &str = "SELECT m.id, m.sequence, m.role, m.message_hash, m.content, m.tokens, m.sent_at,
        m.created_at, e.embedding_model, e.embedding_dim, length(e.embedding)::bigint, n.state, n.cause, p.user_id,
        p.is_synced, m.conversation_id, m.external_id
    FROM message_cache m LEFT JOIN cache_embeddings e ON e.id = m.id
        LEFT JOIN embedding_notes n ON n.message_id = m.id
        LEFT JOIN cache_content_mapping p ON p.id = m.id AND p.cache_id = m.id
    WHERE m.conversation_id = $1 AND m.sequence >= $2 ORDER BY m.sequence LIMIT $3";
pub(super) const OWNERS_AFTER: &str = "SELECT user_id FROM
        (SELECT user_id FROM usage_metrics WHERE user_id > $1
            UNION SELECT user_id FROM conversation_cache WHERE user_id > $1 AND platform = 'guest'
            UNION SELECT user_id FROM conversation_cache WHERE user_id > $1 AND platform = 'authenticated') owners
    ORDER BY user_id LIMIT $2";
pub(super) const USAGE_AUDIT: &str = "SELECT o.owner, u.total_requests, u.cache_hits, u.cache_misses, u.total_input_tokens,
        u.total_output_tokens, u.monthly_requests_used, u.updated_at, u.lookup_misses, u.tokens_saved, s.messages, s.input,
        s.output
    FROM unnest($1) WITH ORDINALITY AS o (owner, place) LEFT JOIN usage_metrics u ON u.user_id = o.owner
        CROSS JOIN LATERAL (SELECT count(*) AS messages,
            coalesce(sum(m.tokens) FILTER (WHERE m.role <> 'assistant'), 0)::bigint AS input,
            coalesce(sum(m.tokens) FILTER (WHERE m.role = 'assistant'), 0)::bigint AS output
            FROM (SELECT id FROM conversation_cache WHERE user_id = o.owner AND platform = 'guest'
                    UNION ALL SELECT id FROM conversation_cache WHERE user_id = o.owner AND platform = 'authenticated') owned
                JOIN message_cache m ON m.conversation_id = owned.id) s
    ORDER BY o.place";
pub(super) const ORPHANED_MESSAGES: &str =
    "SELECT id, 'no conversation ' || conversation_id FROM message_cache m
    WHERE NOT EXISTS (SELECT FROM conversation_cache c WHERE c.id = m.conversation_id) LIMIT $1";
pub(super) const ORPHANED_VECTORS: &str =
    "SELECT id, 'no message ' || message_id || ' in conversation ' || conversation_id FROM cache_embeddings e
    WHERE NOT EXISTS (SELECT FROM message_cache m WHERE m.id = e.id AND m.id = e.message_id
        AND m.conversation_id = e.conversation_id) LIMIT $1";
pub(super) const ORPHANED_NOTES: &str =
    "SELECT message_id, 'no message ' || message_id FROM embedding_notes n
    WHERE NOT EXISTS (SELECT FROM message_cache m WHERE m.id = n.message_id) LIMIT $1";
pub(super) const ORPHANED_MAPPINGS: &str =
    "SELECT id, 'no message ' || cache_id FROM cache_content_mapping p
    WHERE NOT EXISTS (SELECT FROM message_cache m WHERE m.id = p.id) LIMIT $1";
pub(super) const EMPTY_CONVERSATIONS: &str =
    "SELECT id, 'no message at all' FROM conversation_cache c
    WHERE NOT EXISTS (SELECT FROM message_cache m WHERE m.conversation_id = c.id) LIMIT $1";
pub(super) const METRICS_AUDIT: &str = "WITH hours AS
        (SELECT DISTINCT date_trunc('hour', created_at, 'UTC') AS hour FROM message_cache),
        kept AS (SELECT DISTINCT recorded_at FROM cache_metrics_parts)
    SELECT (SELECT count(*) FROM hours), (SELECT count(*) FROM hours JOIN kept ON recorded_at = hour),
        (SELECT greatest(0, coalesce(sum(entries), 0))::bigint FROM cache_metrics_parts),
        (SELECT count(*) FROM message_cache),
        (SELECT coalesce(sum(cache_hits + cache_misses), 0)::bigint FROM cache_metrics_parts)";
pub(super) const METRICS_MISSING: &str = "SELECT hour FROM
        (SELECT DISTINCT date_trunc('hour', created_at, 'UTC') AS hour FROM message_cache) hours
    WHERE NOT EXISTS (SELECT FROM cache_metrics_parts WHERE recorded_at = hour) ORDER BY hour LIMIT 100";
pub(super) const HOURS_MISSING: &str =
    "SELECT hour FROM unnest($1) WITH ORDINALITY AS h (hour, place)
    WHERE NOT EXISTS (SELECT FROM cache_metrics_parts WHERE recorded_at = hour) ORDER BY place";

// Repair.

pub(super) const REPAIR_COUNTERS: &str =
    "UPDATE conversation_cache SET message_count = $2, total_tokens = $3
    WHERE id = $1 AND conversation_hash = $4";
pub(super) const REPAIR_WINDOW: &str =
    "UPDATE conversation_cache SET list_from = $2, list_expires_at = $3
    WHERE platform = 'guest' AND id = $1 AND conversation_hash = $4";
pub(super) const REPAIR_USAGE: &str = "INSERT INTO usage_metrics AS u (id, user_id, total_requests, cache_hits, cache_misses,
        total_input_tokens, total_output_tokens, total_tokens, tier, monthly_requests_used, created_at, updated_at)
    VALUES ($1, $2, $3, 0, $4, $5, $6, $5 + $6, CASE WHEN EXISTS (SELECT FROM conversation_cache
        WHERE user_id = $2 AND platform = 'authenticated') THEN 'free' ELSE 'guest' END, 0, $7, $7)
    ON CONFLICT (user_id) DO UPDATE SET total_requests = $3 + u.cache_hits + u.lookup_misses,
        cache_misses = $4 + u.lookup_misses,
        total_input_tokens = $5, total_output_tokens = $6, total_tokens = $5 + $6,
        cache_hit_rate = u.cache_hits::float8 / greatest(1, u.cache_hits + $4 + u.lookup_misses),
        monthly_requests_used = CASE
            WHEN date_trunc('month', u.updated_at AT TIME ZONE 'UTC') = date_trunc('month', $7 AT TIME ZONE 'UTC')
            THEN u.monthly_requests_used ELSE 0 END,
        updated_at = $7";
pub(super) const REPAIR_MAPPING: &str =
    "INSERT INTO cache_content_mapping (id, cache_type, cache_id, user_id, cache_backend,
        content_backend, is_synced, last_synced_at, created_at)
    SELECT id, 'message', id, $2, $3, 'postgresql', $4, NULL, $5 FROM message_cache WHERE id = $1
    ON CONFLICT (id) DO UPDATE SET cache_id = excluded.cache_id, user_id = excluded.user_id, is_synced = excluded.is_synced";
pub(super) const REPAIR_HOURS: &str = "INSERT INTO cache_metrics_parts (id, recorded_at, part, entries, cache_hits, cache_misses,
        timed_requests, timed_ms, storage_size_mb)
    SELECT gen_random_uuid()::text, hour, 0, 0, 0, stored, 0, 0, 0 FROM
        (SELECT date_trunc('hour', created_at, 'UTC') AS hour, count(*) AS stored FROM message_cache GROUP BY 1) hours
    WHERE NOT EXISTS (SELECT FROM cache_metrics_parts WHERE recorded_at = hour)";
pub(super) const REPAIR_ENTRIES: &str = "UPDATE cache_metrics_parts SET entries = entries
        + (SELECT count(*) FROM message_cache) - (SELECT sum(entries) FROM cache_metrics_parts)
    WHERE (recorded_at, part) = (SELECT recorded_at, part FROM cache_metrics_parts ORDER BY recorded_at DESC, part LIMIT 1)";
