//! The lists go away and come back: no write fails, and they are repaired without being asked for.

use crate::harness::{ClusterHarness, figure, stopped};
use guestbook_testkit::oracle::{Load, Nodes, Oracle, Plan, Stores, Talker};
use guestbook_testkit::process::Running;
use guestbook_testkit::servers::Proxy;
use std::sync::Arc;
use std::time::Duration;

/// A node under load.
struct NodeUnderLoad {
    harness: ClusterHarness,
    node: Running,
    oracle: Arc<Oracle>,
    load: Load,
}

impl NodeUnderLoad {
    async fn start() -> Self {
        let harness = ClusterHarness::fast().await;
        let node = harness.node();
        Self::on(harness, node).await
    }

    async fn on(harness: ClusterHarness, node: Running) -> Self {
        let oracle = Arc::new(Oracle::default());
        let load = Load::start(&oracle, &Nodes::of(&[&node]), Plan::light());
        oracle.progress(60).await;
        Self {
            harness,
            node,
            oracle,
            load,
        }
    }

    /// Messages are saved all the same, and answers say that their lists follow.
    async fn pending(&self, more: usize) {
        let wanted = self.oracle.book().pending + more;
        self.oracle
            .until("answers that say pending", |book| book.pending >= wanted)
            .await;
    }

    /// Ends the load, brings the lists back, and waits until they are repaired, which nobody asks for.
    async fn repaired(self, what: &str, bring_back: impl AsyncFnOnce(&ClusterHarness)) {
        let Self {
            harness,
            node,
            oracle,
            load,
        } = self;
        load.finish().await;
        bring_back(&harness).await;
        figure(what, oracle.until_listed(&harness).await);
        ended(harness, node, &oracle).await;
    }
}

async fn ended(harness: ClusterHarness, node: Running, oracle: &Oracle) {
    {
        let book = oracle.book();
        assert_eq!(
            (book.unavailable, book.died),
            (0, 0),
            "a write or read failed"
        );
    }
    oracle.assert_clean(&harness, &[&node.client]).await;
    stopped(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_stopped_and_started() {
    let proxied = NodeUnderLoad::start().await;
    let mut talker = Talker::new(1000, &proxied.oracle, &Nodes::of(&[&proxied.node]));
    for guest in ["leaver", "joiner", "leaver", "joiner"] {
        talker.say(guest, true).await;
    }
    proxied.harness.redis.stop().await;
    proxied.pending(60).await;
    // Lists that have to go are remembered; who reads a list is answered from the tables; nobody calls it verified.
    talker.delete("leaver").await;
    talker.migrate("joiner", "member").await;
    talker.say("joiner", true).await;
    let client = &proxied.node.client;
    let session = client.get("/v1/guest/session/joiner").await.ok();
    assert_eq!(
        (
            &session["source"],
            session["messages"].as_array().unwrap().len()
        ),
        (&"postgresql".into(), 1)
    );
    let deleted = client
        .delete(&guestbook_testkit::client::chat("nobody"))
        .await
        .ok();
    assert_eq!(deleted["deleted_from"], serde_json::json!(["postgresql"]));
    let verified = client.verify(None).await;
    assert_eq!(verified["ok"], false, "{verified:#}");
    let (code, said) = proxied.harness.verify().await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("the list cannot be read"), "{said}");
    let what = "lists repaired after Redis was started";
    proxied
        .repaired(what, async |harness| harness.redis.start_again().await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_started_under_load() {
    let proxied = NodeUnderLoad::start().await;
    for _ in 0..3 {
        proxied.harness.redis.kill().await;
        proxied.pending(30).await;
        proxied.harness.redis.start_again().await;
        proxied.oracle.progress(100).await;
    }
    proxied.harness.redis.kill().await;
    proxied.pending(30).await;
    let what = "lists repaired after Redis was killed and started";
    proxied
        .repaired(what, async |harness| harness.redis.start_again().await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs() {
    let proxied = NodeUnderLoad::start().await;
    proxied.harness.redis.pause().await;
    proxied.pending(60).await;
    let what = "lists repaired after Redis had hung";
    proxied
        .repaired(what, async |harness| harness.redis.resume().await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_slow() {
    let harness = ClusterHarness::fast().await;
    let proxy = Proxy::start(&harness.redis.address());
    let node = harness.node_at(&harness.database_url(), &proxy.before(&harness.redis.url()));
    let proxied = NodeUnderLoad::on(harness, node).await;
    proxy.delay(Duration::from_millis(150), Duration::from_millis(150));
    proxied.pending(60).await;
    let what = "lists repaired after Redis was slow";
    proxied
        .repaired(what, async |_| proxy.delay(Duration::ZERO, Duration::ZERO))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_full() {
    let proxied = NodeUnderLoad::start().await;
    for setting in [["maxmemory-policy", "noeviction"], ["maxmemory", "100kb"]] {
        proxied
            .harness
            .redis
            .command(&["CONFIG", "SET", setting[0], setting[1]])
            .await;
    }
    proxied.pending(60).await;
    let what = "lists repaired after Redis was full";
    let make_room = async |harness: &ClusterHarness| {
        drop(
            harness
                .redis
                .command(&["CONFIG", "SET", "maxmemory", "0"])
                .await,
        )
    };
    proxied.repaired(what, make_room).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_evicts() {
    let proxied = NodeUnderLoad::start().await;
    for setting in [
        ["maxmemory-policy", "allkeys-random"],
        ["maxmemory", "100kb"],
    ] {
        proxied
            .harness
            .redis
            .command(&["CONFIG", "SET", setting[0], setting[1]])
            .await;
    }
    proxied.oracle.progress(200).await;
    let what = "lists repaired after Redis had evicted some";
    let make_room = async |harness: &ClusterHarness| {
        drop(
            harness
                .redis
                .command(&["CONFIG", "SET", "maxmemory", "0"])
                .await,
        )
    };
    proxied.repaired(what, make_room).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_under_load() {
    let proxied = NodeUnderLoad::start().await;
    for _ in 0..5 {
        proxied.harness.redis.command(&["FLUSHALL"]).await;
        proxied.oracle.progress(60).await;
    }
    proxied
        .repaired("lists repaired after FLUSHALL under load", async |_| {})
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_while_nobody_speaks() {
    let proxied = NodeUnderLoad::start().await;
    let what = "lists repaired after FLUSHALL without traffic";
    let empty = async |harness: &ClusterHarness| drop(harness.redis.command(&["FLUSHALL"]).await);
    proxied.repaired(what, empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_restarted_while_nobody_speaks() {
    let proxied = NodeUnderLoad::start().await;
    let restart = async |harness: &ClusterHarness| {
        harness.redis.kill().await;
        harness.redis.start_again().await;
    };
    proxied
        .repaired(
            "lists repaired after a restart of Redis without traffic",
            restart,
        )
        .await;
}

/// It answers all the time, and takes no list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_refuses_writes() {
    let proxied = NodeUnderLoad::start().await;
    let allow = async |redis: &guestbook_testkit::servers::Redis, rule: &str| {
        redis.command(&["ACL", "SETUSER", "default", rule]).await;
    };
    allow(&proxied.harness.redis, "-evalsha").await;
    proxied.pending(60).await;
    let since = std::time::Instant::now();
    while proxied.node.client.get("/readyz").await.ok()["lists"]["ok"] == true {
        assert!(since.elapsed() < Duration::from_secs(60), "called ready");
    }
    let what = "lists repaired after Redis took writes again";
    proxied
        .repaired(what, async |harness| {
            allow(&harness.redis, "+evalsha").await
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_not_there_at_the_start() {
    let harness = ClusterHarness::fast().await;
    harness.redis.stop().await;
    let node = harness.node();
    let proxied = NodeUnderLoad::on(harness, node).await;
    proxied.pending(60).await;
    assert_eq!(
        proxied.node.client.get("/readyz").await.ok()["status"],
        "degraded"
    );
    let what = "lists repaired after Redis came up later than the node";
    proxied
        .repaired(what, async |harness| harness.redis.start_again().await)
        .await;
}
