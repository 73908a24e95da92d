//! All vectors.

/// Reads the vector only if it is of the model.
pub(crate) const INDEXABLE: &str = "SELECT e.id, CASE WHEN e.embedding_model = $3 THEN e.embedding END, m.role, m.sent_at
    FROM (SELECT id, embedding_model, embedding FROM cache_embeddings WHERE id > $1 ORDER BY id LIMIT $2) e
        LEFT JOIN message_cache m ON m.id = e.id
    ORDER BY e.id";
pub(crate) const INDEXABLE_OF: &str = "SELECT e.id, e.embedding, m.role, m.sent_at
    FROM cache_embeddings e JOIN message_cache m ON m.id = e.id WHERE e.id = ANY ($1) AND e.embedding_model = $2";
pub(crate) const EMBEDDED_SINCE: &str = "SELECT created_at, id FROM cache_embeddings
    WHERE created_at >= $1 AND (created_at, id) > ($1, $2) ORDER BY created_at, id LIMIT $3";
pub(crate) const NOTES_OF_NOTHING: &str =
    "SELECT count(*) FROM embedding_notes WHERE state = 'none' AND model = $1";
pub(crate) const CANDIDATES: &str = "SELECT m.id, m.sequence, m.role, m.content, m.sent_at, m.created_at, m.metadata,
        m.external_id, m.conversation_id, e.embedding
    FROM unnest($1) WITH ORDINALITY AS proposed (id, place)
        JOIN message_cache m ON m.id = proposed.id JOIN cache_embeddings e ON e.id = m.id AND e.embedding_model = $2
        JOIN conversation_cache c ON c.id = m.conversation_id AND (c.expires_at IS NULL OR c.expires_at > $3)
    WHERE $4::text IS NULL OR c.platform = $4 ORDER BY proposed.place LIMIT $5";
