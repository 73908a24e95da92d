//! A node behind PgBouncer, which gives each transaction another connection.

use crate::rig::{Rig, figure, stopped};
use guestbook_testkit::oracle::{Ledger, Load, Nodes, Plan, Talker};
use guestbook_testkit::servers::PgBouncer;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_a_pool_of_four() {
    let rig = Rig::fast().await;
    let pool = PgBouncer::start(&rig.postgres.address()).await;
    let node = rig.node_at(&pool.url(&rig.database), &rig.redis.url());
    let (ledger, nodes) = (Arc::new(Ledger::default()), Nodes::of(&[&node]));
    let plan = Plan {
        clients: 16,
        guests: 16,
        requests: 48,
        pause: Duration::ZERO,
    };
    let load = Load::start(&ledger, &nodes, plan);
    let mut talker = Talker::new(1000, &ledger, &nodes);
    for step in 0..5 {
        talker.say("leaver", step % 2 == 0).await;
        talker.say("joiner", step % 2 == 0).await;
    }
    talker.delete("leaver").await;
    talker.migrate("joiner", "member").await;
    talker.say("leaver", true).await;
    load.complete().await;
    {
        let book = ledger.book();
        assert_eq!((book.unavailable, book.died), (0, 0));
    }
    ledger.assert_clean(&rig, &[&node.client]).await;
    // The pool itself goes away and comes back.
    let load = Load::start(&ledger, &nodes, Plan::light());
    ledger.progress(50).await;
    pool.kill().await;
    ledger.until("a 503", |book| book.unavailable > 0).await;
    pool.start_again().await;
    let since = Instant::now();
    ledger.progress(1).await;
    figure("served again after PgBouncer was started", since.elapsed());
    ledger.progress(50).await;
    load.finish().await;
    ledger.assert_clean(&rig, &[&node.client]).await;
    stopped(node);
}
