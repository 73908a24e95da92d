//! Several nodes on the same stores.

use crate::harness::{ClusterHarness, stopped};
use guestbook_testkit::client::{Answer, chat, said};
use guestbook_testkit::oracle::{Load, Nodes, Oracle, Plan, Talker};
use guestbook_testkit::process::Running;
use guestbook_testkit::servers::{PgBouncer, Proxy};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the two nodes get from 64 clients.
fn heavy() -> Plan {
    Plan {
        clients: 64,
        guests: 40,
        requests: 90,
        pause: Duration::ZERO,
    }
}

/// Guests who come, are deleted or sign up, and come again.
async fn come_and_go(oracle: Arc<Oracle>, nodes: Nodes) {
    let mut talker = Talker::new(1000, &oracle, &nodes);
    for round in 0..8 {
        talker.come_and_go(round).await;
    }
    talker.say("joiner", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_are_one_guestbook_also_when_one_is_killed() {
    let harness = ClusterHarness::fast().await;
    let (a, b) = (harness.node(), harness.node());
    let (oracle, nodes) = (Arc::new(Oracle::default()), Nodes::of(&[&a, &b]));
    let since = Instant::now();
    let load = Load::start(&oracle, &nodes, heavy());
    let others = tokio::spawn(come_and_go(Arc::clone(&oracle), nodes.clone()));
    oracle.progress(1500).await;
    tokio::task::block_in_place(|| b.kill());
    let b = harness.node();
    nodes.set(1, &b);
    // A verification while messages come in by two ways finds nothing wrong either.
    for node in [&a, &b] {
        let report = node.client.verify(None).await;
        assert_eq!(report["ok"], true, "{report:#}");
    }
    load.complete().await;
    others.await.unwrap();
    println!(
        "figure: {} messages from 64 clients over two nodes, one killed: {:.1?}",
        oracle.book().saved,
        since.elapsed()
    );
    {
        let book = oracle.book();
        assert_eq!(book.unavailable, 0, "a 503 without an outage: {book:?}");
        assert!(book.died > 0, "the kill hit nobody");
    }
    oracle.assert_clean(&harness, &[&a.client, &b.client]).await;
    stopped(a);
    stopped(b);
}

/// A client that gave a deletion up and repeated it elsewhere goes on speaking: what it says then must not be deleted by the
/// first try, which waited on the other node all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_was_given_up_is_not_done_later() {
    let harness = ClusterHarness::fast().await;
    let proxy = Proxy::start(&harness.postgres.address());
    let (a, b) = (
        harness.node_at(&proxy.before(&harness.database_url()), &harness.redis.url()),
        harness.node(),
    );
    for guest in ["leaver", "joiner"] {
        a.client.say(guest, "before").await;
    }
    proxy.stall();
    let (path, migration) = (chat("leaver"), json!({"authenticated_user_id": "member"}));
    let (hanging, migrating) = (said("user", "hanging"), "/v1/guest/migrate/joiner");
    // Whatever comes later to this node waits behind these.
    let first = tokio::join!(
        a.client.message("leaver", &hanging),
        a.client.message("joiner", &hanging),
        async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            tokio::join!(a.client.delete(&path), a.client.post(migrating, &migration))
        }
    );
    let (deletion, try_migrating) = first.2;
    for given_up in [first.0, first.1, deletion, try_migrating] {
        given_up.problem(503);
    }
    b.client.delete(&path).await.ok();
    b.client.post(migrating, &migration).await.ok();
    for guest in ["leaver", "joiner"] {
        b.client.say(guest, "after").await;
    }
    tokio::task::block_in_place(|| proxy.resume());
    for guest in ["leaver", "joiner"] {
        // A guest's requests keep their order on a node: after this one, whatever hung there is done or never will be.
        a.client.say(guest, "in the end").await;
        let history = b.client.history(guest).await;
        let contents = guestbook_testkit::client::contents(&history);
        assert!(contents.contains(&"after"), "{guest}: {contents:?}");
    }
    stopped(a);
    stopped(b);
}

/// A page read from one node is known to the other, and what that one stores is seen by the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_has_one_tag_on_both_nodes() {
    let harness = ClusterHarness::fast().await;
    let (a, b) = (harness.node(), harness.node());
    let path = chat("ada");
    let known = async |node: &Running, tag: &str| {
        let request = node.client.request("GET", &path);
        Answer::of(request.header("If-None-Match", tag))
            .await
            .status
    };
    let mut tags = Vec::new();
    for (writer, other) in [(&a, &b), (&b, &a)] {
        writer.client.say("ada", "hello").await;
        let read = writer.client.get(&path).await;
        tags.push(read.header("etag").expect("a tag").to_owned());
        assert_eq!(known(other, tags.last().unwrap()).await, 304);
        assert_eq!(
            known(other, &tags[0]).await,
            if tags.len() == 1 { 304 } else { 200 }
        );
    }
    stopped(a);
    stopped(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_nodes_start_at_once_on_an_empty_database() {
    let harness = ClusterHarness::fast().await;
    ten_nodes(&harness, &harness.database_url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_nodes_start_at_once_through_a_pool() {
    let harness = ClusterHarness::fast().await;
    let pool = PgBouncer::start(&harness.postgres.address()).await;
    ten_nodes(&harness, &pool.url(&harness.database)).await;
}

async fn ten_nodes(harness: &ClusterHarness, database_url: &str) {
    let since = Instant::now();
    let starting: Vec<_> = (0..10)
        .map(|_| {
            let mut command = harness.command("serve", database_url, &harness.redis.url());
            command.args(["--database-connections", "4"]);
            tokio::task::spawn_blocking(|| Running::start(command))
        })
        .collect();
    let mut nodes = Vec::new();
    for node in starting {
        nodes.push(node.await.unwrap());
    }
    println!(
        "figure: ten nodes on an empty database are up: {:.1?}",
        since.elapsed()
    );
    let oracle = Arc::new(Oracle::default());
    let places = Nodes::of(&nodes.iter().collect::<Vec<_>>());
    let mut talker = Talker::new(0, &oracle, &places);
    for step in 0..20 {
        talker.say("everywhere", step % 2 == 0).await;
    }
    assert_eq!(oracle.book().saved, 20);
    oracle
        .assert_clean(harness, &[&nodes[0].client, &nodes[9].client])
        .await;
    nodes.into_iter().map(stopped).for_each(drop);
}
