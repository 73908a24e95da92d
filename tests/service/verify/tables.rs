//! Damage to the tables.

use crate::verify::damage::{Expected, Then, law};
use guestbook::service::verify::AuditedTable;

/// One law per line: name, the damage, where and how it is named, and what a repair makes of it.
macro_rules! laws {
    ($($name:ident: $damage:expr => $place:ident, $owner:expr, $sequence:expr, $reason:expr, $then:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let expected = Expected { place: AuditedTable::$place, owner: $owner, sequence: $sequence, reason: $reason };
            law($damage, expected, Then::$then).await;
        }
    )*};
}

const ADA: Option<&str> = Some("ada");

laws! {
    a_lost_message_in_the_middle_is_named_and_stays_lost:
        "DELETE FROM message_cache WHERE content = 'two words'"
        => Messages, ADA, None, "messages are missing: 1 should come next, 2 does", Named;
    a_lost_last_message_is_named_and_stays_lost:
        "DELETE FROM message_cache WHERE content = 'now three words'"
        => Conversations, ADA, None, "a message was lost, changed or reordered", Named;
    a_changed_content_is_named_with_its_message:
        "UPDATE message_cache SET content = 'two lies' WHERE content = 'two words'"
        => Messages, ADA, Some(1), "its content is not what message_hash says", Named;
    an_id_that_another_message_has_is_named:
        "UPDATE message_cache SET external_id = (SELECT id FROM message_cache WHERE content = 'one')
            WHERE content = 'two words'"
        => Messages, ADA, Some(1), "its external_id is the id of another message of the chat", Named;
    an_id_that_nobody_can_have_sent_is_named:
        "UPDATE message_cache SET external_id = 'last' WHERE content = 'two words'"
        => Messages, ADA, Some(1), "its external_id is none that a client could have sent", Named;
    a_content_changed_together_with_its_hash_breaks_the_chain:
        "UPDATE message_cache SET content = (SELECT content FROM message_cache WHERE content = 'hello'),
            message_hash = (SELECT message_hash FROM message_cache WHERE content = 'hello'), tokens = 1 WHERE content = 'one'"
        => Conversations, ADA, None, "the hash chain does not end where the row says", Named;
    reordered_messages_break_the_chain:
        "UPDATE message_cache SET sequence = 100 WHERE content = 'one';
         UPDATE message_cache SET sequence = 0 WHERE content = 'two words';
         UPDATE message_cache SET sequence = 1 WHERE content = 'one'"
        => Conversations, ADA, None, "the hash chain does not end where the row says", Named;
    a_wrong_message_count_is_corrected:
        "UPDATE conversation_cache SET message_count = 7 WHERE user_id = 'ada'"
        => Conversations, ADA, None, "message_count 7 and total_tokens 6 should be 3 and 6", Mended;
    wrong_total_tokens_are_corrected:
        "UPDATE conversation_cache SET total_tokens = 999 WHERE user_id = 'ada'"
        => Conversations, ADA, None, "message_count 3 and total_tokens 999 should be 3 and 6", Mended;
    a_changed_conversation_hash_is_named:
        "UPDATE conversation_cache SET conversation_hash = replace(conversation_hash, substr(conversation_hash, 1, 2), 'zz')
            WHERE user_id = 'ada'"
        => Conversations, ADA, None, "the hash chain does not end where the row says", Named;
    a_wrong_list_window_is_corrected:
        "UPDATE conversation_cache SET list_from = 2 WHERE user_id = 'ada'"
        => Conversations, ADA, None, "list_from and list_expires_at", Mended;
    a_lost_vector_is_computed_again:
        "DELETE FROM cache_embeddings WHERE id = (SELECT id FROM message_cache WHERE content = 'two words')"
        => Embeddings, ADA, Some(1), "there is no vector", Mended;
    a_vector_of_another_model_is_replaced:
        "UPDATE cache_embeddings SET embedding_model = 'other:3:00000000'
            WHERE id = (SELECT id FROM message_cache WHERE content = 'two words')"
        => Embeddings, ADA, Some(1), "the vector is of other:3:00000000", Mended;
    a_vector_of_another_length_is_replaced:
        "UPDATE cache_embeddings SET embedding = x'0102', embedding_dim = 2
            WHERE id = (SELECT id FROM message_cache WHERE content = 'two words')"
        => Embeddings, ADA, Some(1), "the vector has 2 bytes", Mended;
    a_vector_that_was_cut_is_replaced:
        "UPDATE cache_embeddings SET embedding = x'0102' WHERE id = (SELECT id FROM message_cache WHERE content = 'two words')"
        => Embeddings, ADA, Some(1), "the vector has 2 bytes", Mended;
    a_vector_of_another_conversation_is_replaced:
        "UPDATE cache_embeddings SET conversation_id = (SELECT id FROM conversation_cache WHERE user_id = 'bob')
            WHERE id = (SELECT id FROM message_cache WHERE content = 'two words')"
        => Embeddings, None, None, "cache_embeddings: no message", Mended;
    a_lost_mapping_is_written_again:
        "DELETE FROM cache_content_mapping WHERE id = (SELECT id FROM message_cache WHERE content = 'two words')"
        => Mappings, ADA, Some(1), "there is no mapping", Mended;
    a_mapping_that_names_another_message_is_written_again:
        "UPDATE cache_content_mapping SET cache_id = 'another' WHERE id = (SELECT id FROM message_cache WHERE content = 'two words')"
        => Mappings, ADA, Some(1), "there is no mapping", Mended;
    a_mapping_of_another_owner_is_corrected:
        "UPDATE cache_content_mapping SET user_id = 'bob' WHERE id = (SELECT id FROM message_cache WHERE content = 'two words')"
        => Mappings, ADA, Some(1), "it belongs to bob, the chat to ada", Mended;
    is_synced_that_denies_what_the_list_has_is_corrected:
        "UPDATE cache_content_mapping SET is_synced = 0 WHERE id = (SELECT id FROM message_cache WHERE content = 'two words')"
        => Mappings, ADA, Some(1), "is_synced is false, though the list has the message", Mended;
    lost_usage_is_counted_again:
        "DELETE FROM usage_metrics WHERE user_id = 'ada'"
        => Usage, ADA, None, "there is no row for 3 messages", Mended;
    wrong_usage_is_corrected:
        "UPDATE usage_metrics SET total_requests = 5, total_output_tokens = 77 WHERE user_id = 'ada'"
        => Usage, ADA, None, "(5, 3, 4, 77) and should be (3, 3, 4, 2)", Mended;
    usage_without_messages_is_removed:
        "INSERT INTO usage_metrics (id, user_id, total_requests, cache_hits, cache_misses, total_input_tokens,
            total_output_tokens, total_tokens, tier, monthly_requests_used, created_at, updated_at)
         SELECT 'x', 'ghost', 1, 0, 1, 1, 0, 1, 'guest', 1, created_at, updated_at FROM usage_metrics LIMIT 1"
        => Usage, Some("ghost"), None, "there is a row, and no message of its owner", Mended;
    a_missing_hour_of_metrics_is_written_again:
        "DELETE FROM cache_metrics"
        => Metrics, None, None, "no row for the hour 2100-06-15T12:00:00Z", Mended;
    wrong_total_entries_are_corrected:
        "UPDATE cache_metrics SET total_entries = 40"
        => Metrics, None, None, "total_entries of the newest row is 40, and there are 4 messages", Mended;
}

/// The count is the trace of a lost last message: were it lowered, the next message would take its place unseen.
#[tokio::test]
async fn a_repair_does_not_lower_the_count_of_a_chat_that_lost_its_last_message() {
    let ground = crate::verify::damage::Ground::new().await;
    ground.change("DELETE FROM message_cache WHERE content = 'now three words'");
    let harness = ground.start();
    let scope = guestbook::service::verify::VerifyScope::All;
    let mode = guestbook::service::verify::VerifyMode::Repair;
    let report = harness.service.verify(&scope, mode).await.unwrap();
    assert!(!report.ok);
    assert_eq!(harness.say("ada", "the next").await.recorded.sequence, 3);
    harness.stop().await;
}
