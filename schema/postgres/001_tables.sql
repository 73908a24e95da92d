-- The tables of Guestbook on PostgreSQL: the same by meaning as schema/sqlite/001_tables.sql, which says what each column
-- is for. Ids are UUIDs as text, ordered by bytes (COLLATE "C"), times are timestamptz kept to the millisecond.
-- This file is never edited once released: a change is a new file with the next number.

-- Addition: what the database knows of itself (store_epoch, lists_incarnation, retention).
CREATE TABLE guestbook_meta (
    key   text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE conversation_cache (
    id                text COLLATE "C" PRIMARY KEY,
    user_id           text COLLATE "C" NOT NULL,
    session_id        text COLLATE "C" NOT NULL,
    title             text NOT NULL,
    conversation_hash text NOT NULL,
    message_count     bigint NOT NULL,
    total_tokens      bigint NOT NULL,
    platform          text NOT NULL CHECK (platform IN ('guest', 'authenticated')),
    tone              text,
    language          text,
    migration_version text NOT NULL DEFAULT '1',
    created_at        timestamptz NOT NULL,
    accessed_at       timestamptz NOT NULL,
    expires_at        timestamptz,
    -- Additions: what the guest's expiring list should hold, and how far it is known to be there.
    list_from         bigint NOT NULL DEFAULT 0,
    list_synced       bigint NOT NULL DEFAULT 0,
    list_expires_at   timestamptz
) WITH (fillfactor = 70); -- room for a row's next version beside it: every message makes one

CREATE UNIQUE INDEX conversation_guest ON conversation_cache (user_id) WHERE platform = 'guest';
CREATE INDEX conversation_user ON conversation_cache (user_id, id) WHERE platform = 'authenticated';
CREATE INDEX conversation_session ON conversation_cache (session_id) WHERE platform = 'authenticated';
CREATE INDEX conversation_retention ON conversation_cache (expires_at) WHERE expires_at IS NOT NULL;
-- The outbox: empty when every list is up to date, so a crash is caught up with without a scan.
CREATE INDEX conversation_list_debt ON conversation_cache (id)
    WHERE list_synced < message_count AND list_expires_at IS NOT NULL;
CREATE INDEX conversation_list_expiry ON conversation_cache (list_expires_at) WHERE list_expires_at IS NOT NULL;

CREATE TABLE message_cache (
    id                text COLLATE "C" PRIMARY KEY,
    conversation_id   text COLLATE "C" NOT NULL REFERENCES conversation_cache (id) DEFERRABLE INITIALLY DEFERRED,
    role              text NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
    content           text NOT NULL,
    message_hash      text NOT NULL,
    tokens            bigint NOT NULL,
    sequence          bigint NOT NULL,
    is_edited         boolean NOT NULL DEFAULT false,
    quality_score     double precision,
    metadata          text,
    migration_version text NOT NULL DEFAULT '1',
    sent_at           timestamptz NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CONSTRAINT message_sequence UNIQUE (conversation_id, sequence)
);

-- The first vector of a message has the message's own id: one key finds it, and no second index has to be kept.
CREATE TABLE cache_embeddings (
    id                text COLLATE "C" PRIMARY KEY,
    conversation_id   text COLLATE "C" NOT NULL,
    message_id        text COLLATE "C" NOT NULL,
    embedding         bytea NOT NULL,
    embedding_model   text NOT NULL,
    embedding_dim     bigint NOT NULL,
    text_chunk        text,
    chunk_index       bigint NOT NULL DEFAULT 0,
    migration_version text NOT NULL DEFAULT '1',
    created_at        timestamptz NOT NULL,
    CHECK (length(embedding) = embedding_dim)
);

-- Addition: why a message has no vector (state: pending, failed, none).
CREATE TABLE embedding_notes (
    message_id text COLLATE "C" PRIMARY KEY,
    state      text NOT NULL CHECK (state IN ('pending', 'failed', 'none')),
    model      text NOT NULL,
    attempts   bigint NOT NULL DEFAULT 0,
    cause      text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL
);

CREATE INDEX embedding_pending ON embedding_notes (message_id) WHERE state = 'pending';

CREATE TABLE usage_metrics (
    id                       text COLLATE "C" PRIMARY KEY,
    user_id                  text COLLATE "C" NOT NULL UNIQUE,
    total_requests           bigint NOT NULL,
    cache_hits               bigint NOT NULL,
    cache_misses             bigint NOT NULL,
    total_input_tokens       bigint NOT NULL,
    total_output_tokens      bigint NOT NULL,
    total_tokens             bigint NOT NULL,
    average_response_time_ms double precision NOT NULL DEFAULT 0,
    timed_requests           bigint NOT NULL DEFAULT 0, -- addition: what the mean is over
    cache_hit_rate           double precision NOT NULL DEFAULT 0,
    total_cost               double precision NOT NULL DEFAULT 0,
    cache_cost               double precision NOT NULL DEFAULT 0,
    tier                     text NOT NULL,
    monthly_request_limit    bigint NOT NULL DEFAULT 100,
    monthly_requests_used    bigint NOT NULL,
    created_at               timestamptz NOT NULL,
    updated_at               timestamptz NOT NULL
) WITH (fillfactor = 70);

-- The mapping of a message has the message's own id, for the same reason as its vector.
CREATE TABLE cache_content_mapping (
    id              text COLLATE "C" PRIMARY KEY,
    cache_type      text NOT NULL,
    cache_id        text COLLATE "C" NOT NULL,
    content_id      text,
    user_id         text COLLATE "C" NOT NULL,
    cache_backend   text NOT NULL,
    content_backend text NOT NULL,
    is_synced       boolean NOT NULL,
    last_synced_at  timestamptz,
    created_at      timestamptz NOT NULL
) WITH (fillfactor = 70);

-- What cache_metrics is made of. One row an hour would be locked by every batch until its commit and so put all nodes
-- into one queue; each batch adds to one of several parts instead, and the view below puts them together.
CREATE TABLE cache_metrics_parts (
    id              text COLLATE "C" NOT NULL,
    recorded_at     timestamptz NOT NULL,
    part            integer NOT NULL,
    entries         bigint NOT NULL, -- messages stored less messages removed in this hour
    cache_hits      bigint NOT NULL,
    cache_misses    bigint NOT NULL,
    timed_requests  bigint NOT NULL,
    timed_ms        double precision NOT NULL,
    storage_size_mb double precision NOT NULL,
    PRIMARY KEY (recorded_at, part)
) WITH (fillfactor = 50);

CREATE VIEW cache_metrics AS
    SELECT min(id) AS id,
        recorded_at, -- start of the UTC hour
        greatest(0, sum(sum(entries)) OVER (ORDER BY recorded_at))::bigint AS total_entries,
        sum(cache_hits)::bigint AS cache_hits,
        sum(cache_misses)::bigint AS cache_misses,
        sum(cache_hits + cache_misses)::bigint AS total_requests,
        CASE WHEN sum(timed_requests) > 0 THEN sum(timed_ms) / sum(timed_requests) ELSE 0 END AS avg_response_time,
        sum(timed_requests)::bigint AS timed_requests,
        0::double precision AS avg_generation_time,
        max(storage_size_mb) AS storage_size_mb
    FROM cache_metrics_parts GROUP BY recorded_at;

CREATE TABLE cache_migrations (
    id                text COLLATE "C" PRIMARY KEY,
    version           text NOT NULL,
    migration_type    text NOT NULL,
    status            text NOT NULL,
    records_migrated  bigint NOT NULL,
    records_failed    bigint NOT NULL,
    started_at        timestamptz NOT NULL,
    completed_at      timestamptz,
    source            text NOT NULL,
    destination       text NOT NULL,
    notes             text
);

-- Addition: lists that must go because their chat has been erased, has expired or has become a user's.
CREATE TABLE list_removals (
    guest_id     text COLLATE "C" PRIMARY KEY,
    requested_at timestamptz NOT NULL
);
