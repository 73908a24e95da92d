//! Settings that all nodes share: who is told others is refused, and a change holds for all of them.

use crate::harness::{ClusterHarness, stopped};
use guestbook_testkit::client::Client;
use guestbook_testkit::process::{Running, finish, stderr, stdout};
use serde_json::Value;
use std::process::Output;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);
const HOUR: u64 = 3_600_000;

fn told(harness: &ClusterHarness, settings: &[&str]) -> Running {
    let mut command = harness.command("serve", &harness.database_url(), &harness.redis.url());
    command.args(settings);
    tokio::task::block_in_place(|| Running::start(command))
}

/// What a node says that does not start with these settings.
fn refused(harness: &ClusterHarness, settings: &[&str]) -> String {
    let mut command = harness.command("serve", &harness.database_url(), &harness.redis.url());
    command.args(settings);
    let output = tokio::task::block_in_place(|| finish(command));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    stderr(&output)
}

fn settings(harness: &ClusterHarness, arguments: &[&str], failpoints: Option<&str>) -> Output {
    let mut command = harness.command("settings", &harness.database_url(), &harness.redis.url());
    command.args(arguments);
    if let Some(failpoints) = failpoints {
        command.env("FAILPOINTS", failpoints);
    }
    tokio::task::block_in_place(|| finish(command))
}

fn set(harness: &ClusterHarness, name: &str, value: &str) -> String {
    let output = settings(harness, &["set", name, value], None);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

fn listed(harness: &ClusterHarness) -> Value {
    let output = settings(harness, &["--json"], None);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)))
}

/// How long a guest's list still lives, as the server of the lists has it.
async fn lives(harness: &ClusterHarness, guest: &str) -> u64 {
    let key = format!("guest:{guest}");
    let told = harness.redis.command(&["PTTL", &key]).await;
    let told = told.trim().trim_start_matches("(integer) ");
    told.parse().unwrap_or_else(|_| panic!("{guest}: {told}"))
}

async fn assert_well(client: &Client) {
    let report = client.verify(None).await;
    assert_eq!(report["ok"], true, "{report:#}");
}

/// Waits for what must come about by itself.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !holds().await {
        assert!(since.elapsed() < LIMIT, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_other_settings_is_refused_with_the_command_that_changes_them() {
    let harness = ClusterHarness::fast().await;
    let a = told(&harness, &["--list-ttl", "12h"]);
    for guest in ["g1", "g2"] {
        a.client.say(guest, "hello").await;
    }
    for (flags, command) in [
        (["--list-ttl", "2h"], "guestbook settings set list-ttl 2h"),
        (
            ["--retention", "20s"],
            "guestbook settings set retention 20s",
        ),
        (
            ["--text-index", "on"],
            "guestbook settings set text-index on",
        ),
        (
            ["--embedder", "none"],
            "guestbook settings set embedder none",
        ),
    ] {
        let said = refused(&harness, &flags);
        assert!(said.contains(command), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let untold = told(&harness, &[]);
    assert!(
        untold.banner.contains("expire after 12h"),
        "{}",
        untold.banner
    );
    let same = told(&harness, &["--list-ttl", "12h", "--retention", "off"]);
    for node in [&a, &untold, &same] {
        assert_eq!(node.client.history("g1").await.len(), 1);
        assert_well(&node.client).await;
    }
    for node in [a, untold, same] {
        stopped(node);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_life_of_the_lists_holds_on_every_node_at_once() {
    let harness = ClusterHarness::fast().await;
    let (a, b) = (harness.node(), harness.node());
    for n in 0..30 {
        a.client.say(&format!("g{n}"), "hello").await;
    }
    for (hours, value) in [(2, "2h"), (48, "48h")] {
        // Before: the nodes have written each chat last, and remember it.
        let said = set(&harness, "list-ttl", value);
        assert!(said.contains("for all nodes"), "{said}");
        a.client.say("g0", "and").await;
        b.client.say("g1", "and").await;
        b.client.say(value, "new").await;
        for guest in ["g0", "g1", "g2", "g29", value] {
            let left = lives(&harness, guest).await;
            assert!(
                left <= hours * HOUR && left > (hours - 1) * HOUR,
                "{guest}: {left} ms"
            );
        }
        for node in [&a, &b] {
            assert_well(&node.client).await;
        }
    }
    assert_eq!(listed(&harness)["carried_out"], true);
    assert_eq!(listed(&harness)["settings"][0]["value"], "2days");
    stopped(a);
    stopped(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_command_has_left_the_nodes_carry_out() {
    let harness = ClusterHarness::fast().await;
    let (a, b) = (harness.node(), harness.node());
    for n in 0..30 {
        a.client.say(&format!("g{n}"), "hello").await;
    }
    let output = settings(
        &harness,
        &["set", "list-ttl", "2h"],
        Some("retime.mid=return"),
    );
    assert_eq!(output.status.code(), None, "{}", stdout(&output));
    assert_well(&b.client).await;
    until("the nodes have carried it out", async || {
        listed(&harness)["carried_out"] == true
    })
    .await;
    for n in 0..30 {
        let left = lives(&harness, &format!("g{n}")).await;
        assert!(left <= 2 * HOUR, "g{n}: {left} ms");
    }
    assert_well(&a.client).await;
    stopped(a);
    stopped(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_retention_holds_for_every_chat_of_every_node() {
    let harness = ClusterHarness::fast().await;
    let (a, b) = (harness.node(), harness.node());
    for n in 0..30 {
        a.client.say(&format!("g{n}"), "hello").await;
    }
    let kept =
        "SELECT count(*), count(*) FILTER (WHERE expires_at - accessed_at = interval '30 days')
        FROM conversation_cache";
    set(&harness, "retention", "30d");
    b.client.say("new", "hello").await;
    a.client.say("g0", "and").await;
    assert_eq!(harness.psql(kept).await.trim(), "31|31");
    set(&harness, "retention", "off");
    b.client.say("newer", "hello").await;
    assert_eq!(harness.psql(kept).await.trim(), "32|0");
    let ends = "SELECT count(expires_at) FROM conversation_cache";
    assert_eq!(harness.psql(ends).await.trim(), "0");
    stopped(a);
    stopped(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_embedder_is_no_longer_that_of_all_says_so_and_makes_no_vectors() {
    let harness = ClusterHarness::fast().await;
    let a = harness.node();
    a.client.say("g1", "a red bicycle").await;
    let said = set(&harness, "embedder", "none");
    assert!(said.contains("restart every node"), "{said}");
    until("the node says so", async || {
        let ready = a.client.get("/readyz").await.ok();
        ready["status"] == "degraded"
            && ready["embedder_problem"]
                .as_str()
                .is_some_and(|it| it.contains("is now none") && it.contains("restart"))
    })
    .await;
    let saved = a.client.say("g1", "a blue bicycle").await;
    assert_eq!(saved["receipt"]["embedding"], "pending", "{saved}");
    stopped(a);
    let said = refused(&harness, &["--embedder", "static"]);
    assert!(said.contains("settings set embedder static"), "{said}");
    set(&harness, "embedder", "static");
    let a = harness.node();
    let ready = a.client.get("/readyz").await.ok();
    assert_eq!(ready["status"], "ready", "{ready}");
    let saved = a.client.say("g1", "a green bicycle").await;
    assert_eq!(saved["receipt"]["embedding"], "stored", "{saved}");
    stopped(a);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_over_words_is_switched_on_for_all_nodes() {
    let harness = ClusterHarness::fast().await;
    let a = harness.node();
    a.client.say("g1", "a crocodile with a violin").await;
    set(&harness, "text-index", "on");
    let asked = serde_json::json!({"q": "violin", "mode": "text"});
    until("the node finds by words", async || {
        a.client.post("/v1/search", &asked).await.status == 200
    })
    .await;
    stopped(a);
}
