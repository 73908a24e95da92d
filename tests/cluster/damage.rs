//! The oracle notices every fault that it is there to notice: otherwise it would find nothing wrong in any other test.

use crate::harness::{ClusterHarness, stopped};
use guestbook_testkit::client::said;
use guestbook_testkit::oracle::{KINDS, Nodes, Oracle, Talker};
use std::sync::Arc;

/// Six messages of each guest of one client.
const GUESTS: [&str; 8] = [
    "lost", "changed", "late", "twice", "strange", "moved", "gap", "order",
];

/// One fault in each guest's rows.
const FAULTS: &str = "
    CREATE VIEW told AS SELECT m.*, c.user_id FROM message_cache m JOIN conversation_cache c ON c.id = m.conversation_id;
    DELETE FROM message_cache WHERE id = (SELECT id FROM told WHERE user_id = 'lost' AND sequence = 5);
    UPDATE message_cache SET message_hash = repeat('0', 64)
        WHERE id = (SELECT id FROM told WHERE user_id = 'changed' AND sequence = 2);
    UPDATE message_cache SET sent_at = sent_at + interval '1 ms'
        WHERE id = (SELECT id FROM told WHERE user_id = 'late' AND sequence = 2);
    INSERT INTO message_cache (id, conversation_id, role, content, message_hash, tokens, sequence, sent_at, created_at, updated_at)
        SELECT gen_random_uuid()::text, conversation_id, role, content, message_hash, tokens, 6, sent_at, created_at, updated_at
        FROM told WHERE user_id = 'twice' AND sequence = 5;
    INSERT INTO message_cache (id, conversation_id, role, content, message_hash, tokens, sequence, sent_at, created_at, updated_at)
        SELECT gen_random_uuid()::text, conversation_id, role, 'never sent', message_hash, tokens, 6, sent_at, created_at, updated_at
        FROM told WHERE user_id = 'strange' AND sequence = 5;
    UPDATE message_cache SET id = gen_random_uuid()::text WHERE id = (SELECT id FROM told WHERE user_id = 'moved' AND sequence = 3);
    UPDATE message_cache SET sequence = 9 WHERE id = (SELECT id FROM told WHERE user_id = 'gap' AND sequence = 5);
    UPDATE message_cache SET sequence = -1 WHERE id = (SELECT id FROM told WHERE user_id = 'order' AND sequence = 4);
    UPDATE message_cache SET sequence = 4 WHERE id = (SELECT id FROM told WHERE user_id = 'order' AND sequence = 5);
    UPDATE message_cache SET sequence = 5 WHERE id = (SELECT id FROM told WHERE user_id = 'order' AND sequence = -1);
    UPDATE cache_content_mapping SET is_synced = false WHERE user_id = 'changed';
    DROP VIEW told;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_noticed() {
    let harness = ClusterHarness::fast().await;
    let node = harness.node();
    let oracle = Arc::new(Oracle::default());
    let mut talker = Talker::new(0, &oracle, &Nodes::of(&[&node]));
    for step in 0..6 {
        for guest in GUESTS {
            talker.say(guest, step % 2 == 0).await;
        }
    }
    oracle.assert_clean(&harness, &[&node.client]).await;
    harness.psql(FAULTS).await;
    let other = r#"{"role":"user","content":"other words","timestamp":"2025-12-21T12:00:00Z"}"#;
    harness
        .redis
        .command(&["LSET", "guest:order", "0", other])
        .await;
    let found = oracle.findings(&harness, &[&node.client]).await;
    for kind in KINDS {
        assert!(found.count(kind) > 0, "{kind} goes unnoticed: {found}");
    }
    for kind in ["lost", "duplicated"] {
        assert_eq!(found.count(kind), 1, "{found}");
    }
    // A hash that is not of the words, and a time that is not the client's.
    assert_eq!(found.count("changed"), 2, "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_that_counts_too_few_messages_is_a_500_that_says_how_to_mend_it() {
    let harness = ClusterHarness::fast().await;
    let node = harness.node();
    for number in 0..3 {
        node.client.say("g1", &format!("{number}")).await;
    }
    harness
        .psql("UPDATE conversation_cache SET message_count = 1")
        .await;
    let answer = node.client.message("g1", &said("user", "3")).await;
    let problem = answer.problem(500);
    let detail = problem["detail"].as_str().unwrap();
    let next = "guestbook verify --repair --guest g1";
    assert!(detail.contains(next), "{detail}");
    node.client.say("g2", "of another").await;
    let nothing = serde_json::json!({});
    let repair = node.client.post("/v1/guest/verify/g1", &nothing);
    repair.await.ok();
    assert_eq!(node.client.say("g1", "3").await["sequence"], 3);
    stopped(node);
}
