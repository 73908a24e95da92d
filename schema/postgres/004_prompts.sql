-- Answers to prompts that were asked before, and what they saved. By meaning as in schema/sqlite/002_prompts.sql.

CREATE TABLE prompt_cache (
    id                text COLLATE "C" PRIMARY KEY, -- made of the whole key, from scope to prompt_hash
    scope             text COLLATE "C" NOT NULL,    -- addition: guest:ID or tenant:NAME; no answer leaves it
    context_hash      text COLLATE "C" NOT NULL,    -- addition: SHA-256 of what the model was told besides
    model             text NOT NULL,
    temperature       double precision,             -- NULL: the model's own
    max_tokens        bigint,
    prompt_hash       text COLLATE "C" NOT NULL,    -- SHA-256 of the prompt, white space normalised, case kept
    response_hash     text NOT NULL,
    generation_time   double precision NOT NULL,    -- ms
    input_tokens      bigint NOT NULL,
    output_tokens     bigint NOT NULL,
    hits              bigint NOT NULL DEFAULT 0,    -- written about a second later
    last_accessed     timestamptz NOT NULL,
    migration_version text NOT NULL DEFAULT '1',
    created_at        timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    size              bigint NOT NULL,              -- addition: bytes of texts and vector
    embedding         bytea,                        -- addition: where similar prompts may be given the answer
    embedding_model   text,                         -- addition
    prompt_text       text NOT NULL,
    response_text     text NOT NULL,
    CHECK ((embedding IS NULL) = (embedding_model IS NULL))
) WITH (fillfactor = 80);

CREATE INDEX prompt_cache_scope ON prompt_cache (scope, context_hash, last_accessed);
CREATE INDEX prompt_cache_expiry ON prompt_cache (expires_at);
CREATE INDEX prompt_cache_use ON prompt_cache (last_accessed, id) INCLUDE (size);

-- Additions: total_requests is messages, hits and lookup_misses; cache_misses is messages and lookup_misses.
ALTER TABLE usage_metrics ADD COLUMN lookup_misses bigint NOT NULL DEFAULT 0;
ALTER TABLE usage_metrics ADD COLUMN tokens_saved bigint NOT NULL DEFAULT 0;

ALTER TABLE cache_metrics_parts ADD COLUMN prompt_hits bigint NOT NULL DEFAULT 0;
ALTER TABLE cache_metrics_parts ADD COLUMN prompt_misses bigint NOT NULL DEFAULT 0;
ALTER TABLE cache_metrics_parts ADD COLUMN tokens_saved bigint NOT NULL DEFAULT 0;
ALTER TABLE cache_metrics_parts ADD COLUMN generation_time_saved double precision NOT NULL DEFAULT 0; -- ms

-- Additions at the end: lookups of the hour, which cache_hits and cache_misses count as well. avg_generation_time is of the
-- answers given.
CREATE OR REPLACE VIEW cache_metrics AS
    SELECT min(id) AS id,
        recorded_at, -- start of the UTC hour
        greatest(0, sum(sum(entries)) OVER (ORDER BY recorded_at))::bigint AS total_entries,
        sum(cache_hits)::bigint AS cache_hits,
        sum(cache_misses)::bigint AS cache_misses,
        sum(cache_hits + cache_misses)::bigint AS total_requests,
        CASE WHEN sum(timed_requests) > 0 THEN sum(timed_ms) / sum(timed_requests) ELSE 0 END AS avg_response_time,
        sum(timed_requests)::bigint AS timed_requests,
        (CASE WHEN sum(prompt_hits) > 0 THEN sum(generation_time_saved) / sum(prompt_hits)::float8 ELSE 0 END)
            ::double precision AS avg_generation_time,
        max(storage_size_mb) AS storage_size_mb,
        sum(prompt_hits)::bigint AS prompt_hits,
        sum(prompt_misses)::bigint AS prompt_misses,
        sum(tokens_saved)::bigint AS tokens_saved,
        sum(generation_time_saved) AS generation_time_saved,
        (CASE WHEN sum(prompt_hits + prompt_misses) > 0
            THEN sum(prompt_hits)::float8 / sum(prompt_hits + prompt_misses)::float8 ELSE 0 END)::double precision AS prompt_hit_rate
    FROM cache_metrics_parts GROUP BY recorded_at;
