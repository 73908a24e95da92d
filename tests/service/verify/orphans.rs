//! Rows that belong to nothing: what is derived is removed, a message or a conversation never.

use crate::verify::damage::{Expected, Then, law};
use guestbook::service::verify::AuditedTable;

fn nobodys(place: AuditedTable, reason: &'static str) -> Expected {
    Expected {
        place,
        owner: None,
        sequence: None,
        reason,
    }
}

#[tokio::test]
async fn a_vector_of_no_message_is_removed() {
    let damage = "INSERT INTO cache_embeddings (id, conversation_id, message_id, embedding, embedding_model, embedding_dim,
            created_at) SELECT 'x', conversation_id, 'x', embedding, embedding_model, embedding_dim, created_at
        FROM cache_embeddings LIMIT 1";
    law(
        damage,
        nobodys(AuditedTable::Embeddings, "cache_embeddings: no message x"),
        Then::Mended,
    )
    .await;
}

#[tokio::test]
async fn a_note_of_no_message_is_removed() {
    let damage = "INSERT INTO embedding_notes (message_id, state, model, updated_at)
        VALUES ('x', 'pending', 'm', '2100-06-15T12:00:00.000Z')";
    law(
        damage,
        nobodys(AuditedTable::Embeddings, "embedding_notes: no message x"),
        Then::Mended,
    )
    .await;
}

#[tokio::test]
async fn a_mapping_of_no_message_is_removed() {
    let damage = "INSERT INTO cache_content_mapping (id, cache_type, cache_id, user_id, cache_backend, content_backend,
            is_synced, created_at) VALUES ('x', 'message', 'x', 'ada', 'sled', 'sqlite', 0, '2100-06-15T12:00:00.000Z')";
    law(
        damage,
        nobodys(
            AuditedTable::Mappings,
            "cache_content_mapping: no message x",
        ),
        Then::Mended,
    )
    .await;
}

#[tokio::test]
async fn a_message_of_no_conversation_is_named_and_kept() {
    let damage = "DELETE FROM conversation_cache WHERE user_id = 'bob'";
    law(
        damage,
        nobodys(AuditedTable::Messages, "message_cache: no conversation"),
        Then::Named,
    )
    .await;
}

#[tokio::test]
async fn a_conversation_without_a_message_is_named_and_kept() {
    let damage = "DELETE FROM message_cache WHERE content = 'hello'";
    let reason = "conversation_cache: no message at all";
    law(
        damage,
        nobodys(AuditedTable::Conversations, reason),
        Then::Named,
    )
    .await;
}
