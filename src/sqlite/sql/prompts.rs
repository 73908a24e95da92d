//! The prompt cache.

/// By the id alone, which is derived from the whole key; `lookups.rs` compares the rest.
pub(crate) const PROMPT_FIND: &str =
    "SELECT rowid, scope, context_hash, prompt_hash, prompt_text, response_text, generation_time, input_tokens, output_tokens,
        hits, created_at, expires_at FROM prompt_cache WHERE id = ?1";
pub(crate) const PROMPTS_NEAR: &str = "SELECT prompt_text, embedding FROM prompt_cache
    WHERE scope = ?1 AND context_hash = ?2 AND model = ?3 AND temperature IS ?4 AND max_tokens IS ?5
        AND embedding_model = ?6 AND expires_at > ?7
    ORDER BY last_accessed DESC LIMIT ?8";
pub(crate) const PROMPT_PUT: &str = "INSERT INTO prompt_cache (id, scope, context_hash, model, temperature, max_tokens,
        prompt_hash, response_hash, generation_time, input_tokens, output_tokens, last_accessed, created_at, expires_at, size,
        embedding, embedding_model, prompt_text, response_text)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
    ON CONFLICT (id) DO UPDATE SET scope = excluded.scope, context_hash = excluded.context_hash,
        prompt_hash = excluded.prompt_hash, response_hash = excluded.response_hash,
        generation_time = excluded.generation_time, input_tokens = excluded.input_tokens,
        output_tokens = excluded.output_tokens, last_accessed = excluded.last_accessed, created_at = excluded.created_at,
        expires_at = excluded.expires_at, size = excluded.size, embedding = excluded.embedding,
        embedding_model = excluded.embedding_model, prompt_text = excluded.prompt_text,
        response_text = excluded.response_text";
pub(crate) const PROMPTS_REMOVE: &str =
    "DELETE FROM prompt_cache WHERE id IN (SELECT id FROM prompt_cache LIMIT ?1)";
pub(crate) const PROMPTS_REMOVE_SCOPE: &str =
    "DELETE FROM prompt_cache WHERE id IN (SELECT id FROM prompt_cache WHERE scope = ?2 LIMIT ?1)";
pub(crate) const PROMPTS_ERASE: &str = "DELETE FROM prompt_cache WHERE scope = ?1";
pub(crate) const PROMPTS_EXPIRED: &str =
    "SELECT id FROM prompt_cache WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
/// The least recently used entries beyond the size of the others. Reads the whole index of use, and nothing else.
pub(crate) const PROMPTS_BEYOND: &str = "SELECT id FROM (SELECT id, sum(size)
            OVER (ORDER BY last_accessed DESC, id DESC ROWS UNBOUNDED PRECEDING) AS total FROM prompt_cache)
    WHERE total > ?1 ORDER BY total DESC LIMIT ?2";
pub(crate) const PROMPT_DELETE: &str = "DELETE FROM prompt_cache WHERE id = ?1";
pub(crate) const PROMPT_GIVEN: &str = "UPDATE prompt_cache SET hits = hits + ?2 WHERE id = ?1";
/// Apart from the hits: SQLite rewrites a column that is set in every index that has it, even if its value stays the same.
pub(crate) const PROMPT_USED: &str =
    "UPDATE prompt_cache SET last_accessed = ?2 WHERE id = ?1 AND last_accessed < ?2";
/// A lookup is a request. Owners without a row have stored no message and are not counted.
pub(crate) const USAGE_LOOKUPS: &str = "UPDATE usage_metrics SET total_requests = total_requests + ?2 + ?3,
        cache_hits = cache_hits + ?2, cache_misses = cache_misses + ?3, lookup_misses = lookup_misses + ?3,
        tokens_saved = tokens_saved + ?4,
        cache_hit_rate = cast(cache_hits + ?2 AS REAL) / max(1, cache_hits + cache_misses + ?2 + ?3)
    WHERE user_id = ?1";
pub(crate) const METRICS_LOOKUPS: &str = "UPDATE cache_metrics SET prompt_hits = prompt_hits + ?2,
        prompt_misses = prompt_misses + ?3, tokens_saved = tokens_saved + ?4,
        generation_time_saved = generation_time_saved + ?5,
        avg_generation_time = iif(prompt_hits + ?2 > 0, (generation_time_saved + ?5) / (prompt_hits + ?2), 0.0)
    WHERE recorded_at = ?1";
pub(crate) const PROMPT_STATS: &str =
    "SELECT count(*), count(*) FILTER (WHERE expires_at <= ?1), count(DISTINCT scope),
        count(embedding_model), coalesce(sum(size), 0) FROM prompt_cache";
pub(crate) const LOOKUP_STATS: &str = "SELECT coalesce(sum(prompt_hits), 0), coalesce(sum(prompt_misses), 0),
        coalesce(sum(tokens_saved), 0), coalesce(sum(generation_time_saved), 0.0) FROM cache_metrics";
