//! The prompt cache.

/// For this transaction only: the commit does not wait for the disk, since entries are only a cache.
pub(crate) const LIGHTLY: &str = "SET LOCAL synchronous_commit = off";
/// The ids are derived from the whole keys; what must never be confused is compared as well. Rows come in any order.
pub(crate) const PROMPTS_FIND: &str = "SELECT p.id, p.prompt_text, p.response_text, p.generation_time, p.input_tokens,
        p.output_tokens, p.hits, p.created_at, p.expires_at
    FROM unnest($1, $2, $3, $4) AS wanted (id, scope, context_hash, prompt_hash)
        JOIN prompt_cache p ON p.id = wanted.id AND p.scope = wanted.scope AND p.context_hash = wanted.context_hash
            AND p.prompt_hash = wanted.prompt_hash
    WHERE p.expires_at > $5";
pub(crate) const PROMPTS_NEAR: &str = "SELECT prompt_text, embedding FROM prompt_cache
    WHERE scope = $1 AND context_hash = $2 AND model = $3 AND temperature IS NOT DISTINCT FROM $4
        AND max_tokens IS NOT DISTINCT FROM $5 AND embedding_model = $6 AND expires_at > $7
    ORDER BY last_accessed DESC LIMIT $8";
/// In the order of their ids, so that two nodes that store the same entries never deadlock.
pub(crate) const PROMPTS_PUT: &str = "INSERT INTO prompt_cache (id, scope, context_hash, model, temperature, max_tokens,
        prompt_hash, response_hash, generation_time, input_tokens, output_tokens, last_accessed, created_at, expires_at, size,
        embedding, embedding_model, prompt_text, response_text)
    SELECT n.id, n.scope, n.context_hash, n.model, n.temperature, n.max_tokens, n.prompt_hash, n.response_hash,
        n.generation_time, n.input_tokens, n.output_tokens, $18, $18, n.expires_at, n.size, n.embedding, n.embedding_model,
        n.prompt_text, n.response_text
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
        AS n (id, scope, context_hash, model, temperature, max_tokens, prompt_hash, response_hash, generation_time,
            input_tokens, output_tokens, expires_at, size, embedding, embedding_model, prompt_text, response_text)
    ORDER BY n.id
    ON CONFLICT (id) DO UPDATE SET scope = excluded.scope, context_hash = excluded.context_hash,
        prompt_hash = excluded.prompt_hash, response_hash = excluded.response_hash,
        generation_time = excluded.generation_time, input_tokens = excluded.input_tokens,
        output_tokens = excluded.output_tokens, last_accessed = excluded.last_accessed, created_at = excluded.created_at,
        expires_at = excluded.expires_at, size = excluded.size, embedding = excluded.embedding,
        embedding_model = excluded.embedding_model, prompt_text = excluded.prompt_text,
        response_text = excluded.response_text";
/// Both wait for rows locked by another transaction: what is removed on purpose must not be there afterwards.
pub(crate) const PROMPTS_REMOVE: &str = "WITH gone AS (DELETE FROM prompt_cache WHERE id IN
        (SELECT id FROM prompt_cache ORDER BY id LIMIT $1 FOR UPDATE) RETURNING 1) SELECT count(*) FROM gone";
pub(crate) const PROMPTS_REMOVE_SCOPE: &str = "WITH gone AS (DELETE FROM prompt_cache WHERE id IN
        (SELECT id FROM prompt_cache WHERE scope = $2 ORDER BY id LIMIT $1 FOR UPDATE) RETURNING 1)
    SELECT count(*) FROM gone";
pub(crate) const PROMPTS_ERASE: &str = "WITH gone AS (DELETE FROM prompt_cache WHERE id IN
        (SELECT id FROM prompt_cache WHERE scope = ANY ($1) ORDER BY id FOR UPDATE) RETURNING 1)
    SELECT count(*) FROM gone";
/// Before the statement below, which leaves rows locked by another transaction for the next sweep.
pub(crate) const PROMPTS_EXPIRED: &str =
    "SELECT 1 FROM prompt_cache WHERE expires_at <= $1 LIMIT 1";
pub(crate) const PROMPTS_EXPIRE: &str = "WITH gone AS (DELETE FROM prompt_cache WHERE id IN
        (SELECT id FROM prompt_cache WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING 1) SELECT count(*) FROM gone";
/// The least recently used entries beyond the size of the others. Reads the whole index of use, and nothing else.
pub(crate) const PROMPTS_BEYOND: &str = "SELECT id FROM (SELECT id, sum(size)
            OVER (ORDER BY last_accessed DESC, id DESC ROWS UNBOUNDED PRECEDING) AS total FROM prompt_cache) used
    WHERE total > $1 ORDER BY total DESC LIMIT $2";
pub(crate) const PROMPTS_DELETE: &str = "WITH gone AS (DELETE FROM prompt_cache WHERE id IN
        (SELECT id FROM prompt_cache WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED) RETURNING 1) SELECT count(*) FROM gone";
/// A lookup is a request. Owners without a row have stored no message and are not counted. The rows must be locked before.
pub(crate) const USAGE_LOOKUPS: &str = "UPDATE usage_metrics u SET total_requests = u.total_requests + n.hits + n.misses,
        cache_hits = u.cache_hits + n.hits, cache_misses = u.cache_misses + n.misses,
        lookup_misses = u.lookup_misses + n.misses, tokens_saved = u.tokens_saved + n.saved,
        cache_hit_rate = (u.cache_hits + n.hits)::float8
            / greatest(1, u.cache_hits + u.cache_misses + n.hits + n.misses)
    FROM (SELECT owner, sum(hits)::bigint AS hits, sum(misses)::bigint AS misses, sum(saved)::bigint AS saved
        FROM unnest($1, $2, $3, $4) AS one (owner, hits, misses, saved) GROUP BY owner) n
    WHERE u.user_id = n.owner";
pub(crate) const PROMPTS_LOCK: &str =
    "SELECT id FROM prompt_cache WHERE id = ANY ($1) ORDER BY id FOR UPDATE";
pub(crate) const PROMPTS_GIVEN: &str = "UPDATE prompt_cache p SET hits = p.hits + n.hits,
        last_accessed = greatest(p.last_accessed, n.last)
    FROM (SELECT id, sum(hits)::bigint AS hits, max(last) AS last FROM unnest($1, $2, $3) AS one (id, hits, last) GROUP BY id) n
    WHERE p.id = n.id";
pub(crate) const METRICS_LOOKUPS: &str =
    "UPDATE cache_metrics_parts SET prompt_hits = prompt_hits + $3,
        prompt_misses = prompt_misses + $4, tokens_saved = tokens_saved + $5,
        generation_time_saved = generation_time_saved + $6
    WHERE recorded_at = $1 AND part = $2";
pub(crate) const PROMPT_STATS: &str =
    "SELECT count(*), count(*) FILTER (WHERE expires_at <= $1), count(DISTINCT scope),
        count(embedding_model), coalesce(sum(size), 0)::bigint FROM prompt_cache";
pub(crate) const LOOKUP_STATS: &str = "SELECT coalesce(sum(prompt_hits), 0)::bigint, coalesce(sum(prompt_misses), 0)::bigint,
        coalesce(sum(tokens_saved), 0)::bigint, coalesce(sum(generation_time_saved), 0)::float8 FROM cache_metrics_parts";
