//! A node behind PgBouncer, which gives each transaction another connection.

use crate::harness::{ClusterHarness, figure, stopped};
use guestbook_testkit::oracle::{Load, Nodes, Oracle, Plan, Talker};
use guestbook_testkit::servers::PgBouncer;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_a_pool_of_four() {
    let harness = ClusterHarness::fast().await;
    let pool = PgBouncer::start(&harness.postgres.address()).await;
    let node = harness.node_at(&pool.url(&harness.database), &harness.redis.url());
    let (oracle, nodes) = (Arc::new(Oracle::default()), Nodes::of(&[&node]));
    let plan = Plan {
        clients: 16,
        guests: 16,
        requests: 48,
        pause: Duration::ZERO,
    };
    let load = Load::start(&oracle, &nodes, plan);
    let mut talker = Talker::new(1000, &oracle, &nodes);
    for step in 0..5 {
        talker.say("leaver", step % 2 == 0).await;
        talker.say("joiner", step % 2 == 0).await;
    }
    talker.delete("leaver").await;
    talker.migrate("joiner", "member").await;
    talker.say("leaver", true).await;
    load.complete().await;
    {
        let book = oracle.book();
        assert_eq!((book.unavailable, book.died), (0, 0));
    }
    oracle.assert_clean(&harness, &[&node.client]).await;
    // The pool itself goes away and comes back.
    let load = Load::start(&oracle, &nodes, Plan::light());
    oracle.progress(50).await;
    pool.kill().await;
    oracle.until("a 503", |book| book.unavailable > 0).await;
    pool.start_again().await;
    let since = Instant::now();
    oracle.progress(1).await;
    figure("served again after PgBouncer was started", since.elapsed());
    oracle.progress(50).await;
    load.finish().await;
    oracle.assert_clean(&harness, &[&node.client]).await;
    stopped(node);
}
