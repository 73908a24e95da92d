//! All vectors.

/// Reads the vector only if it is of the model.
pub(crate) const INDEXABLE: &str = "SELECT e.id, iif(e.embedding_model = ?3, e.embedding, NULL), m.role, m.sent_at
    FROM cache_embeddings e JOIN message_cache m ON m.id = e.id WHERE e.id > ?1 ORDER BY e.id LIMIT ?2";
pub(crate) const INDEXABLE_OF: &str = "SELECT e.id, e.embedding, m.role, m.sent_at
    FROM cache_embeddings e JOIN message_cache m ON m.id = e.id WHERE e.id = ?1 AND e.embedding_model = ?2";
pub(crate) const NOTES_OF_NOTHING: &str =
    "SELECT count(*) FROM embedding_notes WHERE state = 'none' AND model = ?1";
pub(crate) const CANDIDATE: &str = "SELECT m.id, m.sequence, m.role, m.content, m.sent_at, m.created_at, m.metadata,
        m.external_id, m.conversation_id, c.platform, e.embedding
    FROM message_cache m JOIN cache_embeddings e ON e.id = m.id JOIN conversation_cache c ON c.id = m.conversation_id
    WHERE m.id = ?1 AND e.embedding_model = ?2 AND (c.expires_at IS NULL OR c.expires_at > ?3)";
