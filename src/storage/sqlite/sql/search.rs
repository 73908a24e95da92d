//! Searching, and choosing a context.

/// What a choice among messages goes by, the newest first.
pub(in crate::storage::sqlite) const MESSAGES_SKETCHED: &str =
    "SELECT sequence, role, tokens, octet_length(content)
    FROM message_cache WHERE conversation_id = ?1 AND sequence < ?2 ORDER BY sequence DESC LIMIT ?3";
/// The same, in order, with the vectors of one model.
pub(in crate::storage::sqlite) const MESSAGES_WITH_VECTORS: &str =
    "SELECT m.sequence, m.role, m.tokens, octet_length(m.content), e.embedding
    FROM message_cache m LEFT JOIN cache_embeddings e ON e.id = m.id AND e.embedding_model = ?2
    WHERE m.conversation_id = ?1 ORDER BY m.sequence";
