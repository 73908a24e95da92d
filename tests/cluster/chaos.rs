//! Failures of everything, in an order that nobody thought of.
//!
//! `GUESTBOOK_TEST_SEED` repeats a run, `GUESTBOOK_TEST_ROUNDS` or `GUESTBOOK_TEST_LONG` make it longer.

use crate::harness::{ClusterHarness, figure, stopped};
use guestbook_testkit::oracle::{Dice, Load, Nodes, Oracle, Plan, Talker, rounds};
use guestbook_testkit::process::Running;
use guestbook_testkit::servers::Proxy;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Both servers behind a bad network, and two nodes.
struct ProxiedServers {
    harness: ClusterHarness,
    to_postgres: Proxy,
    to_redis: Proxy,
}

impl ProxiedServers {
    fn node(&self) -> Running {
        let database = self.to_postgres.before(&self.harness.database_url());
        let cache = self.to_redis.before(&self.harness.redis.url());
        self.harness.node_at(&database, &cache)
    }

    async fn postgres_fails(&self, way: u64, moment: Duration) {
        let postgres = &self.harness.postgres;
        match way {
            0 => {
                postgres.kill().await;
                tokio::time::sleep(moment).await;
                postgres.start_again().await;
            }
            1 => {
                postgres.stop().await;
                tokio::time::sleep(moment).await;
                postgres.start_again().await;
            }
            2 => {
                postgres.pause().await;
                tokio::time::sleep(moment * 2).await;
                postgres.resume().await;
            }
            3 => {
                self.to_postgres.stall_answers();
                tokio::time::sleep(moment).await;
                tokio::task::block_in_place(|| self.to_postgres.cut());
                tokio::task::block_in_place(|| self.to_postgres.resume());
            }
            4 => tokio::task::block_in_place(|| self.to_postgres.cut()),
            _ => {}
        }
    }

    async fn redis_fails(&self, way: u64, moment: Duration) {
        let redis = &self.harness.redis;
        match way {
            0 => {
                redis.kill().await;
                tokio::time::sleep(moment).await;
                redis.start_again().await;
            }
            1 => drop(redis.command(&["FLUSHALL"]).await),
            2 => {
                redis.pause().await;
                tokio::time::sleep(moment * 2).await;
                redis.resume().await;
            }
            3 => {
                self.to_redis.stall_answers();
                tokio::time::sleep(moment).await;
                tokio::task::block_in_place(|| self.to_redis.cut());
                tokio::task::block_in_place(|| self.to_redis.resume());
            }
            4 => tokio::task::block_in_place(|| self.to_redis.cut()),
            _ => {}
        }
    }
}

/// Guests who are deleted or sign up, until it is over.
async fn come_and_go(oracle: Arc<Oracle>, nodes: Nodes, over: Arc<AtomicBool>) {
    let mut talker = Talker::new(1000, &oracle, &nodes);
    for round in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        talker.come_and_go(round).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_fails_in_any_order() {
    let rounds = rounds(8, 60);
    let mut dice = Dice::thrown();
    let harness = ClusterHarness::durable().await;
    let proxied = ProxiedServers {
        to_postgres: Proxy::start(&harness.postgres.address()),
        to_redis: Proxy::start(&harness.redis.address()),
        harness,
    };
    let mut nodes = [proxied.node(), proxied.node()];
    let (oracle, places) = (
        Arc::new(Oracle::default()),
        Nodes::of(&[&nodes[0], &nodes[1]]),
    );
    let plan = Plan {
        clients: 10,
        requests: 100_000,
        ..Plan::light()
    };
    let load = Load::start(&oracle, &places, plan);
    let over = Arc::new(AtomicBool::new(false));
    let others = tokio::spawn(come_and_go(
        Arc::clone(&oracle),
        places.clone(),
        Arc::clone(&over),
    ));
    for round in 0..rounds {
        oracle.progress(30).await;
        let (postgres, redis, node) = (dice.roll(6), dice.roll(6), dice.roll(4));
        let moments = [(); 3].map(|()| dice.between(Duration::ZERO, Duration::from_millis(400)));
        println!("round {round}: PostgreSQL {postgres} Redis {redis} node {node} {moments:?}");
        tokio::join!(
            proxied.postgres_fails(postgres, moments[0]),
            proxied.redis_fails(redis, moments[1]),
            async {
                tokio::time::sleep(moments[2] / 2).await;
                match node {
                    0 => nodes[1].signal("KILL"),
                    1 => nodes[1].signal("TERM"),
                    _ => {}
                }
            }
        );
        if node < 2 {
            nodes[1] = proxied.node();
            places.set(1, &nodes[1]);
        }
    }
    let since = Instant::now();
    oracle.progress(30).await;
    over.store(true, Ordering::Relaxed);
    others.await.unwrap();
    load.finish().await;
    oracle.until_listed(&proxied.harness).await;
    figure(
        "everything in its place after the last failure",
        since.elapsed(),
    );
    oracle
        .assert_clean(&proxied.harness, &[&nodes[0].client, &nodes[1].client])
        .await;
    nodes.into_iter().map(stopped).for_each(drop);
}
