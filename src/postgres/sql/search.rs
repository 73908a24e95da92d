//! Searching, and selecting a context.

/// The summaries for a selection, newest first.
pub(crate) const MESSAGES_SKETCHED: &str =
    "SELECT sequence, role, tokens, octet_length(content)::bigint
    FROM message_cache WHERE conversation_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3";
/// The same, with the conversation and the vector of one model.
pub(crate) const MESSAGES_WITH_VECTORS: &str =
    "SELECT m.sequence, m.role, m.tokens, octet_length(m.content)::bigint, m.conversation_id, e.embedding
    FROM message_cache m LEFT JOIN cache_embeddings e ON e.id = m.id AND e.embedding_model = $4
    WHERE m.conversation_id = ANY ($1) AND m.sequence >= $2 AND m.sequence < $3";
/// Messages of pure ASCII must contain $4 in lower case, unless $4 is empty: then they are excluded. Others may contain it in
/// another spelling, which is decided here and not on the server.
pub(crate) const MESSAGES_THAT_MAY_HOLD: &str =
    "SELECT id, sequence, role, content, sent_at, created_at, metadata, external_id, conversation_id
    FROM message_cache WHERE conversation_id = ANY ($1) AND sequence >= $2 AND sequence < $3
        AND (octet_length(content) <> char_length(content)
            OR ($4 <> '' AND strpos(lower(content COLLATE \"C\"), $4) > 0))";
pub(crate) const MESSAGES_AT: &str =
    "SELECT id, m.sequence, role, content, sent_at, created_at, metadata, external_id, m.conversation_id
    FROM unnest($1, $2) AS sought (conversation_id, sequence)
        JOIN message_cache m ON m.conversation_id = sought.conversation_id AND m.sequence = sought.sequence";
