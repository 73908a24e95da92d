//! Messages that still need a vector.

pub(crate) const VECTORS_PENDING: &str = "SELECT m.id, m.conversation_id, m.content, n.attempts
    FROM embedding_notes n JOIN message_cache m ON m.id = n.message_id
    WHERE n.state = 'pending' AND n.message_id > $1 ORDER BY n.message_id LIMIT $2";
pub(crate) const VECTORS_MISSING: &str = "SELECT m.id, m.conversation_id, m.content, coalesce(n.attempts, 0)
    FROM message_cache m
        LEFT JOIN cache_embeddings e ON e.id = m.id AND e.embedding_model = $3
        LEFT JOIN embedding_notes n ON n.message_id = m.id
    WHERE m.id > $1 AND e.id IS NULL AND NOT (coalesce(n.state, '') = 'none' AND n.model = $3) ORDER BY m.id LIMIT $2";
pub(crate) const VECTORS_MISSING_COUNT: &str = "SELECT count(*)
    FROM message_cache m
        LEFT JOIN cache_embeddings e ON e.id = m.id AND e.embedding_model = $1
        LEFT JOIN embedding_notes n ON n.message_id = m.id
    WHERE e.id IS NULL AND NOT (coalesce(n.state, '') = 'none' AND n.model = $1)";
/// Of embedded messages, those that still exist without a vector of the model, locked until the end of the transaction, so that
/// none is erased in between.
pub(crate) const VECTORS_WANTED: &str = "SELECT m.id, m.conversation_id FROM message_cache m
    WHERE m.id = ANY ($1) AND NOT EXISTS
        (SELECT FROM cache_embeddings e WHERE e.id = m.id AND e.embedding_model = $2)
    ORDER BY m.id FOR KEY SHARE OF m";
pub(crate) const VECTORS_DELETE: &str = "DELETE FROM cache_embeddings WHERE id = ANY ($1)";
pub(crate) const NOTES_DELETE: &str = "DELETE FROM embedding_notes WHERE message_id = ANY ($1)";
pub(crate) const MAPPINGS_DELETE: &str = "DELETE FROM cache_content_mapping WHERE id = ANY ($1)";
