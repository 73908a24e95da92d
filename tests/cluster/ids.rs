//! Ids that clients chose, on several nodes and over an upgrade of their database.

use crate::harness::{ClusterHarness, stopped};
use guestbook_testkit::client::{chat, said, with};
use serde_json::{Value, json};

fn named(number: usize, content: &str) -> Value {
    let id = format!("0192f0c1-2345-7000-8000-{number:012}");
    with(said("user", content), "id", json!(id))
}

/// What a database of the version before has not.
const NOT_YET: &str = "DROP FUNCTION guestbook_expect_unsent, guestbook_sent;
    DO $$ BEGIN EXECUTE (SELECT 'DROP FUNCTION ' || oid::regprocedure FROM pg_proc
        WHERE proname = 'guestbook_record' AND pronargs = 47); END $$;
    ALTER TABLE message_cache DROP COLUMN external_id;
    DELETE FROM refinery_schema_history WHERE version >= 5";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_on_two_nodes_may_send_the_same_ids_at_once() {
    let harness = ClusterHarness::fast().await;
    let (a, b) = (harness.node(), harness.node());
    const IDS: usize = 20;
    let guests = |name: &'static str| {
        let clients = [a.client.clone(), b.client.clone()];
        tokio::spawn(async move {
            let mut first = 0;
            for number in 0..IDS {
                // One sends and repeats at once on both nodes.
                let message = named(number, name);
                let sends = clients
                    .each_ref()
                    .map(|client| client.message(name, &message));
                let [one, other] = sends;
                let (one, other) = tokio::join!(one, other);
                let answers = [one.ok(), other.ok()];
                first += answers
                    .iter()
                    .filter(|one| one.get("replayed").is_none())
                    .count();
                assert_eq!(answers[0]["message_id"], answers[1]["message_id"]);
                assert_eq!(answers[0]["sequence"], answers[1]["sequence"]);
            }
            first
        })
    };
    let all: Vec<_> = ["g1", "g2", "g3", "g4"].map(guests).into();
    for guest in all {
        assert_eq!(guest.await.unwrap(), IDS);
    }
    for guest in ["g1", "g2", "g3", "g4"] {
        let history = a.client.history(guest).await;
        let shown: Vec<_> = history.iter().map(|it| it["id"].clone()).collect();
        let sent: Vec<_> = (0..IDS)
            .map(|number| named(number, "")["id"].clone())
            .collect();
        assert_eq!(shown, sent, "{guest}");
    }
    assert_eq!(a.client.verify(None).await["ok"], true);
    stopped(a);
    stopped(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_the_version_before_opens_with_what_is_in_it() {
    let harness = ClusterHarness::fast().await;
    let node = harness.node();
    let by_id = node.client.message("g1", &named(1, "Hello")).await.ok();
    let path = chat("g1");
    let by_key = node
        .client
        .post_keyed(&path, "k", &said("user", "Hi"))
        .await
        .ok();
    stopped(node);
    harness.postgres.psql(&harness.database, NOT_YET).await;
    let node = harness.node();
    let again = node.client.message("g1", &named(1, "Hello")).await.ok();
    assert_eq!(again, with(by_id, "replayed", json!(true)));
    let again = node
        .client
        .post_keyed(&path, "k", &said("user", "Hi"))
        .await
        .ok();
    assert_eq!(again, with(by_key, "replayed", json!(true)));
    let other = with(said("user", "new"), "id", json!("m1"));
    node.client.message("g1", &other).await.ok();
    assert_eq!(node.client.history("g1").await[2]["id"], "m1");
    assert_eq!(node.client.verify(None).await["ok"], true);
    stopped(node);
}
