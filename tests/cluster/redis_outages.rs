//! The lists go away and come back: no write fails, and they are repaired without being asked for.

use crate::rig::{Rig, figure, stopped};
use guestbook_testkit::oracle::{Ledger, Load, Nodes, Plan, Stores, Talker};
use guestbook_testkit::process::Running;
use guestbook_testkit::servers::Proxy;
use std::sync::Arc;
use std::time::Duration;

/// A node under load.
struct Stage {
    rig: Rig,
    node: Running,
    ledger: Arc<Ledger>,
    load: Load,
}

impl Stage {
    async fn start() -> Self {
        let rig = Rig::fast().await;
        let node = rig.node();
        Self::on(rig, node).await
    }

    async fn on(rig: Rig, node: Running) -> Self {
        let ledger = Arc::new(Ledger::default());
        let load = Load::start(&ledger, &Nodes::of(&[&node]), Plan::light());
        ledger.progress(60).await;
        Self {
            rig,
            node,
            ledger,
            load,
        }
    }

    /// Messages are saved all the same, and answers say that their lists follow.
    async fn pending(&self, more: usize) {
        let wanted = self.ledger.book().pending + more;
        self.ledger
            .until("answers that say pending", |book| book.pending >= wanted)
            .await;
    }

    /// Ends the load, brings the lists back, and waits until they are repaired, which nobody asks for.
    async fn repaired(self, what: &str, bring_back: impl AsyncFnOnce(&Rig)) {
        let Self {
            rig,
            node,
            ledger,
            load,
        } = self;
        load.finish().await;
        bring_back(&rig).await;
        figure(what, ledger.until_listed(&rig).await);
        ended(rig, node, &ledger).await;
    }
}

async fn ended(rig: Rig, node: Running, ledger: &Ledger) {
    {
        let book = ledger.book();
        assert_eq!(
            (book.unavailable, book.died),
            (0, 0),
            "a write or read failed"
        );
    }
    ledger.assert_clean(&rig, &[&node.client]).await;
    stopped(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_stopped_and_started() {
    let stage = Stage::start().await;
    let mut talker = Talker::new(1000, &stage.ledger, &Nodes::of(&[&stage.node]));
    for guest in ["leaver", "joiner", "leaver", "joiner"] {
        talker.say(guest, true).await;
    }
    stage.rig.redis.stop().await;
    stage.pending(60).await;
    // Lists that have to go are remembered; who reads a list is answered from the tables; nobody calls it verified.
    talker.delete("leaver").await;
    talker.migrate("joiner", "member").await;
    talker.say("joiner", true).await;
    let client = &stage.node.client;
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
    let (code, said) = stage.rig.verify().await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("the list cannot be read"), "{said}");
    let what = "lists repaired after Redis was started";
    stage
        .repaired(what, async |rig| rig.redis.start_again().await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_started_under_load() {
    let stage = Stage::start().await;
    for _ in 0..3 {
        stage.rig.redis.kill().await;
        stage.pending(30).await;
        stage.rig.redis.start_again().await;
        stage.ledger.progress(100).await;
    }
    stage.rig.redis.kill().await;
    stage.pending(30).await;
    let what = "lists repaired after Redis was killed and started";
    stage
        .repaired(what, async |rig| rig.redis.start_again().await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs() {
    let stage = Stage::start().await;
    stage.rig.redis.pause().await;
    stage.pending(60).await;
    let what = "lists repaired after Redis had hung";
    stage
        .repaired(what, async |rig| rig.redis.resume().await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_slow() {
    let rig = Rig::fast().await;
    let proxy = Proxy::start(&rig.redis.address());
    let node = rig.node_at(&rig.database_url(), &proxy.before(&rig.redis.url()));
    let stage = Stage::on(rig, node).await;
    proxy.delay(Duration::from_millis(150), Duration::from_millis(150));
    stage.pending(60).await;
    let what = "lists repaired after Redis was slow";
    stage
        .repaired(what, async |_| proxy.delay(Duration::ZERO, Duration::ZERO))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_full() {
    let stage = Stage::start().await;
    for setting in [["maxmemory-policy", "noeviction"], ["maxmemory", "100kb"]] {
        stage
            .rig
            .redis
            .command(&["CONFIG", "SET", setting[0], setting[1]])
            .await;
    }
    stage.pending(60).await;
    let what = "lists repaired after Redis was full";
    let make_room = async |rig: &Rig| {
        drop(
            rig.redis
                .command(&["CONFIG", "SET", "maxmemory", "0"])
                .await,
        )
    };
    stage.repaired(what, make_room).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_evicts() {
    let stage = Stage::start().await;
    for setting in [
        ["maxmemory-policy", "allkeys-random"],
        ["maxmemory", "100kb"],
    ] {
        stage
            .rig
            .redis
            .command(&["CONFIG", "SET", setting[0], setting[1]])
            .await;
    }
    stage.ledger.progress(200).await;
    let what = "lists repaired after Redis had evicted some";
    let make_room = async |rig: &Rig| {
        drop(
            rig.redis
                .command(&["CONFIG", "SET", "maxmemory", "0"])
                .await,
        )
    };
    stage.repaired(what, make_room).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_under_load() {
    let stage = Stage::start().await;
    for _ in 0..5 {
        stage.rig.redis.command(&["FLUSHALL"]).await;
        stage.ledger.progress(60).await;
    }
    stage
        .repaired("lists repaired after FLUSHALL under load", async |_| {})
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_while_nobody_speaks() {
    let stage = Stage::start().await;
    let what = "lists repaired after FLUSHALL without traffic";
    let empty = async |rig: &Rig| drop(rig.redis.command(&["FLUSHALL"]).await);
    stage.repaired(what, empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_restarted_while_nobody_speaks() {
    let stage = Stage::start().await;
    let restart = async |rig: &Rig| {
        rig.redis.kill().await;
        rig.redis.start_again().await;
    };
    stage
        .repaired(
            "lists repaired after a restart of Redis without traffic",
            restart,
        )
        .await;
}

/// It answers all the time, and takes no list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_refuses_writes() {
    let stage = Stage::start().await;
    let allow = async |redis: &guestbook_testkit::servers::Redis, rule: &str| {
        redis.command(&["ACL", "SETUSER", "default", rule]).await;
    };
    allow(&stage.rig.redis, "-evalsha").await;
    stage.pending(60).await;
    let since = std::time::Instant::now();
    while stage.node.client.get("/readyz").await.ok()["lists"]["ok"] == true {
        assert!(since.elapsed() < Duration::from_secs(60), "called ready");
    }
    let what = "lists repaired after Redis took writes again";
    stage
        .repaired(what, async |rig| allow(&rig.redis, "+evalsha").await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_not_there_at_the_start() {
    let rig = Rig::fast().await;
    rig.redis.stop().await;
    let node = rig.node();
    let stage = Stage::on(rig, node).await;
    stage.pending(60).await;
    assert_eq!(
        stage.node.client.get("/readyz").await.ok()["status"],
        "degraded"
    );
    let what = "lists repaired after Redis came up later than the node";
    stage
        .repaired(what, async |rig| rig.redis.start_again().await)
        .await;
}
