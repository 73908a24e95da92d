//! Searching, and selecting a context.

/// The summaries for a selection, newest first.
pub(crate) const MESSAGES_SKETCHED: &str =
    "SELECT sequence, role, tokens, octet_length(content)
    FROM message_cache WHERE conversation_id = ?1 AND sequence < ?2 ORDER BY sequence DESC LIMIT ?3";
/// The vectors of one model and their sequences, in order; no other column is read.
pub(crate) const VECTORS_OF_CONVERSATION: &str = "SELECT m.sequence, e.embedding
    FROM message_cache m LEFT JOIN cache_embeddings e ON e.id = m.id AND e.embedding_model = ?2
    WHERE m.conversation_id = ?1 ORDER BY m.sequence";
/// The same with the summaries.
pub(crate) const MESSAGES_WITH_VECTORS: &str =
    "SELECT m.sequence, e.embedding, m.role, m.tokens, octet_length(m.content)
    FROM message_cache m LEFT JOIN cache_embeddings e ON e.id = m.id AND e.embedding_model = ?2
    WHERE m.conversation_id = ?1 ORDER BY m.sequence";
