-- The tables of Guestbook. Names and columns are those of the service it replaces; additions are marked so.
-- Ids are UUIDs as text. Times are UTC as text, always 24 characters (2025-12-21T12:00:00.000Z), so that they sort.
-- This file is never edited once released: a change is a new file with the next number.

-- Addition: what the database knows of itself (store_epoch, lists_incarnation, retention).
CREATE TABLE guestbook_meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE conversation_cache (
    id                TEXT PRIMARY KEY NOT NULL,
    user_id           TEXT NOT NULL,            -- the guest, or the user that guest became
    session_id        TEXT NOT NULL,            -- the guest it was begun by; a migration keeps it
    title             TEXT NOT NULL,
    conversation_hash TEXT NOT NULL,            -- head of a SHA-256 chain over the messages
    message_count     INTEGER NOT NULL,         -- also the next sequence
    total_tokens      INTEGER NOT NULL,
    platform          TEXT NOT NULL CHECK (platform IN ('guest', 'authenticated')),
    tone              TEXT,
    language          TEXT,
    migration_version TEXT NOT NULL DEFAULT '1',
    created_at        TEXT NOT NULL,
    accessed_at       TEXT NOT NULL,
    expires_at        TEXT,                     -- set while the service runs with a retention
    -- Additions: what the guest's expiring list should hold, and how far it is known to be durable there.
    list_from         INTEGER NOT NULL DEFAULT 0,
    list_synced       INTEGER NOT NULL DEFAULT 0,
    list_expires_at   TEXT                      -- NULL once the list has expired, or the chat is a user's
) STRICT;

CREATE UNIQUE INDEX conversation_guest ON conversation_cache (user_id) WHERE platform = 'guest';
CREATE INDEX conversation_user ON conversation_cache (user_id, id) WHERE platform = 'authenticated';
CREATE INDEX conversation_session ON conversation_cache (session_id) WHERE platform = 'authenticated';
CREATE INDEX conversation_retention ON conversation_cache (expires_at) WHERE expires_at IS NOT NULL;
-- The outbox: empty when every list is up to date, so a crash is caught up with without a scan.
CREATE INDEX conversation_list_debt ON conversation_cache (id)
    WHERE list_synced < message_count AND list_expires_at IS NOT NULL;
CREATE INDEX conversation_list_expiry ON conversation_cache (list_expires_at) WHERE list_expires_at IS NOT NULL;

CREATE TABLE message_cache (
    id                TEXT PRIMARY KEY NOT NULL,
    -- Deferred, because a batch writes the messages of a new conversation before its one, final row.
    conversation_id   TEXT NOT NULL REFERENCES conversation_cache (id) DEFERRABLE INITIALLY DEFERRED,
    role              TEXT NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
    content           TEXT NOT NULL,
    message_hash      TEXT NOT NULL,            -- SHA-256 of content
    tokens            INTEGER NOT NULL,         -- whitespace-separated words
    sequence          INTEGER NOT NULL,         -- 0, 1, 2 … without gaps in a conversation
    is_edited         INTEGER NOT NULL DEFAULT 0,
    quality_score     REAL,
    metadata          TEXT,                     -- a JSON object
    migration_version TEXT NOT NULL DEFAULT '1',
    sent_at           TEXT NOT NULL,            -- the client's time
    created_at        TEXT NOT NULL,
    updated_at        TEXT NOT NULL,
    UNIQUE (conversation_id, sequence)
) STRICT;

-- The first vector of a message has the message's own id: one key finds it, and no second index has to be kept.
CREATE TABLE cache_embeddings (
    id                TEXT PRIMARY KEY NOT NULL,
    conversation_id   TEXT NOT NULL,
    message_id        TEXT NOT NULL,
    embedding         BLOB NOT NULL,            -- the unit vector, one signed byte per dimension: round(127 * x)
    embedding_model   TEXT NOT NULL,            -- name:dimension:first 8 hex digits of the model file's SHA-256
    embedding_dim     INTEGER NOT NULL,
    text_chunk        TEXT,                     -- NULL: the whole content
    chunk_index       INTEGER NOT NULL DEFAULT 0,
    migration_version TEXT NOT NULL DEFAULT '1',
    created_at        TEXT NOT NULL,
    CHECK (length(embedding) = embedding_dim)
) STRICT;

-- Addition: why a message has no vector (state: pending, failed, none).
CREATE TABLE embedding_notes (
    message_id TEXT PRIMARY KEY NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('pending', 'failed', 'none')),
    model      TEXT NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    cause      TEXT NOT NULL DEFAULT '',
    updated_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX embedding_pending ON embedding_notes (message_id) WHERE state = 'pending';

CREATE TABLE usage_metrics (
    id                       TEXT PRIMARY KEY NOT NULL,
    user_id                  TEXT NOT NULL UNIQUE,
    total_requests           INTEGER NOT NULL,
    cache_hits               INTEGER NOT NULL,
    cache_misses             INTEGER NOT NULL,
    total_input_tokens       INTEGER NOT NULL,  -- user, system, tool
    total_output_tokens      INTEGER NOT NULL,  -- assistant
    total_tokens             INTEGER NOT NULL,
    average_response_time_ms REAL NOT NULL DEFAULT 0,
    timed_requests           INTEGER NOT NULL DEFAULT 0, -- addition: what the mean is over
    cache_hit_rate           REAL NOT NULL DEFAULT 0,
    total_cost               REAL NOT NULL DEFAULT 0,
    cache_cost               REAL NOT NULL DEFAULT 0,
    tier                     TEXT NOT NULL,
    monthly_request_limit    INTEGER NOT NULL DEFAULT 100,
    monthly_requests_used    INTEGER NOT NULL,  -- of the UTC month that updated_at lies in
    created_at               TEXT NOT NULL,
    updated_at               TEXT NOT NULL
) STRICT;

-- The mapping of a message has the message's own id, for the same reason as its vector.
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
) STRICT;

CREATE TABLE cache_metrics (
    id                  TEXT PRIMARY KEY NOT NULL,
    recorded_at         TEXT NOT NULL UNIQUE,   -- start of the UTC hour
    total_entries       INTEGER NOT NULL,       -- messages in the store when the row was last written
    cache_hits          INTEGER NOT NULL,
    cache_misses        INTEGER NOT NULL,
    total_requests      INTEGER NOT NULL,
    avg_response_time   REAL NOT NULL,          -- ms, over timed requests only
    timed_requests      INTEGER NOT NULL,       -- addition: what the mean is over
    avg_generation_time REAL NOT NULL DEFAULT 0,
    storage_size_mb     REAL NOT NULL
) STRICT;

CREATE TABLE cache_migrations (
    id                TEXT PRIMARY KEY NOT NULL,
    version           TEXT NOT NULL,
    migration_type    TEXT NOT NULL,
    status            TEXT NOT NULL,
    records_migrated  INTEGER NOT NULL,
    records_failed    INTEGER NOT NULL,
    started_at        TEXT NOT NULL,
    completed_at      TEXT,
    source            TEXT NOT NULL,
    destination       TEXT NOT NULL,
    notes             TEXT
) STRICT;

-- Addition: lists that must go because their chat has been erased, has expired or has become a user's.
CREATE TABLE list_removals (
    guest_id     TEXT PRIMARY KEY NOT NULL,
    requested_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
