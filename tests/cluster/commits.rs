//! The connection is cut while a commit is under way: whoever waits for the answer cannot know what became of it.

use crate::harness::{ClusterHarness, stopped};
use guestbook_testkit::oracle::{Load, Nodes, Oracle, Plan};
use guestbook_testkit::servers::Proxy;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: u64 = 40;

fn plan() -> Plan {
    Plan {
        clients: 12,
        pause: Duration::from_millis(2),
        ..Plan::light()
    }
}

/// How often a node had to look up what became of a commit.
fn lookups(log: &str) -> usize {
    log.matches("the response to a commit was lost").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_done_but_not_answered_is_looked_up() {
    let harness = ClusterHarness::fast().await;
    let proxy = Proxy::start(&harness.postgres.address());
    let node = harness.node_at(&proxy.before(&harness.database_url()), &harness.redis.url());
    let oracle = Arc::new(Oracle::default());
    let load = Load::start(&oracle, &Nodes::of(&[&node]), plan());
    for _ in 0..ROUNDS {
        oracle.progress(10).await;
        // Answers stop at any point of what is under way; some commits are done by then and not told of.
        proxy.stall_answers();
        let before = commits(&harness).await;
        let since = Instant::now();
        while commits(&harness).await == before && since.elapsed() < Duration::from_millis(60) {}
        tokio::task::block_in_place(|| {
            proxy.cut();
            proxy.resume();
        });
    }
    load.finish().await;
    oracle.assert_clean(&harness, &[&node.client]).await;
    let lookups = lookups(&stopped(node));
    println!("figure: commits of unknown outcome in {ROUNDS} cuts: {lookups}");
    assert!(lookups > 0, "no cut hit a commit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_may_be_cut_at_any_moment() {
    let harness = ClusterHarness::fast().await;
    let proxy = Proxy::start(&harness.postgres.address());
    // Slow enough that there is always something on its way.
    proxy.delay(Duration::from_millis(3), Duration::from_millis(3));
    let node = harness.node_at(&proxy.before(&harness.database_url()), &harness.redis.url());
    let oracle = Arc::new(Oracle::default());
    let load = Load::start(&oracle, &Nodes::of(&[&node]), plan());
    for round in 0..ROUNDS {
        oracle.progress(8).await;
        // A time that differs from round to round is what makes the cut fall elsewhere.
        tokio::time::sleep(Duration::from_millis(round * 7 % 29)).await;
        tokio::task::block_in_place(|| proxy.cut());
    }
    load.finish().await;
    oracle.assert_clean(&harness, &[&node.client]).await;
    let lookups = lookups(&stopped(node));
    println!("figure: commits of unknown outcome in {ROUNDS} cuts: {lookups}");
    assert!(lookups > 0, "no cut hit a commit");
}

/// The transactions that the server has committed with rows.
async fn commits(harness: &ClusterHarness) -> String {
    harness.psql("SELECT count(*) FROM message_cache").await
}
