-- Answers to prompts that were asked before, and what they saved.

-- Columns are those of the service it replaces; additions are marked so. What is searched and counted stands before the long
-- texts, so that it is read without them.
CREATE TABLE prompt_cache (
    id                TEXT PRIMARY KEY NOT NULL,    -- made of the whole key, from scope to prompt_hash
    scope             TEXT NOT NULL,                -- addition: guest:ID or tenant:NAME; no answer leaves it
    context_hash      TEXT NOT NULL,                -- addition: SHA-256 of what the model was told besides
    model             TEXT NOT NULL,
    temperature       REAL,                         -- NULL: the model's own
    max_tokens        INTEGER,
    prompt_hash       TEXT NOT NULL,                -- SHA-256 of the prompt, white space normalised, case kept
    response_hash     TEXT NOT NULL,
    generation_time   REAL NOT NULL,                -- ms
    input_tokens      INTEGER NOT NULL,
    output_tokens     INTEGER NOT NULL,
    hits              INTEGER NOT NULL DEFAULT 0,   -- written about a second later
    last_accessed     TEXT NOT NULL,
    migration_version TEXT NOT NULL DEFAULT '1',
    created_at        TEXT NOT NULL,
    expires_at        TEXT NOT NULL,
    size              INTEGER NOT NULL,             -- addition: bytes of texts and vector
    embedding         BLOB,                         -- addition: where similar prompts may be given the answer
    embedding_model   TEXT,                         -- addition
    prompt_text       TEXT NOT NULL,
    response_text     TEXT NOT NULL,
    CHECK ((embedding IS NULL) = (embedding_model IS NULL))
) STRICT;

CREATE INDEX prompt_cache_scope ON prompt_cache (scope, context_hash, last_accessed);
CREATE INDEX prompt_cache_expiry ON prompt_cache (expires_at);
-- Holds all that eviction needs to know.
CREATE INDEX prompt_cache_use ON prompt_cache (last_accessed, id, size);

-- Additions: total_requests is messages, hits and lookup_misses; cache_misses is messages and lookup_misses.
ALTER TABLE usage_metrics ADD COLUMN lookup_misses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_metrics ADD COLUMN tokens_saved INTEGER NOT NULL DEFAULT 0;

-- Additions: lookups of the hour, which cache_hits and cache_misses count as well. avg_generation_time is of the answers given.
ALTER TABLE cache_metrics ADD COLUMN prompt_hits INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cache_metrics ADD COLUMN prompt_misses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cache_metrics ADD COLUMN tokens_saved INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cache_metrics ADD COLUMN generation_time_saved REAL NOT NULL DEFAULT 0; -- ms
ALTER TABLE cache_metrics ADD COLUMN prompt_hit_rate REAL GENERATED ALWAYS AS
    (iif(prompt_hits + prompt_misses > 0, cast(prompt_hits AS REAL) / (prompt_hits + prompt_misses), 0.0)) VIRTUAL;
