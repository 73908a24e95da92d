//! The index over words with several nodes: they make it at the same time, and one is killed while it stores.

use crate::harness::{ClusterHarness, stopped};
use guestbook_testkit::client::{Answer, Client, chat, json_body};
use guestbook_testkit::process::Running;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const BEFORE: usize = 500;
const LIMIT: Duration = Duration::from_secs(120);

/// A node that keeps the index.
fn node(harness: &ClusterHarness) -> Running {
    let mut command = harness.command("serve", &harness.database_url(), &harness.redis.url());
    command.args(["--text-index", "on"]);
    Running::start(command)
}

async fn found(client: &Client, q: &str) -> Vec<String> {
    let asked = json!({"q": q, "mode": "text", "k": 100});
    let answer = client.post("/v1/search", &asked).await.ok();
    let hits = answer["hits"].as_array().unwrap();
    let text = |hit: &Value| hit["content"].as_str().unwrap().to_owned();
    hits.iter().map(text).collect()
}

/// Waits for the index, which one node makes; meanwhile the other says that it is being made.
async fn ready(client: &Client) {
    let (asked, since) = (json!({"q": "order", "mode": "text"}), Instant::now());
    loop {
        let answer = client.post("/v1/search", &asked).await;
        if answer.status == 200 {
            return;
        }
        let problem = answer.problem(409);
        assert!(
            problem.to_string().contains("still being made"),
            "{problem}"
        );
        assert!(since.elapsed() < LIMIT, "never made");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Stores one message after the other until the node is gone; those that were answered as saved.
async fn talk(client: Client) -> Vec<String> {
    let mut saved = Vec::new();
    for number in 0.. {
        let content = format!("parcel n{number} is late");
        let body = json!({"role": "user", "content": content, "timestamp": "2026-01-01T00:00:00Z"});
        let guest = chat(&format!("g{}", number % 7));
        let request = json_body(client.request("POST", &guest), body.to_string());
        let Ok(answer) = Answer::try_of(request).await else {
            break;
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        saved.push(content);
    }
    saved
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_share_an_index_over_words_and_a_kill_takes_nothing_from_it() {
    let harness = ClusterHarness::fast().await;
    let seed = harness.node();
    for number in 0..BEFORE {
        let guest = format!("before-{}", number % 9);
        let content = format!("order b{number} has arrived");
        seed.client.say(&guest, &content).await;
    }
    stopped(seed);
    // As a command leaves it that was killed before it had made the index.
    harness
        .psql("UPDATE guestbook_meta SET value = 'on' WHERE key = 'text_index_wanted'")
        .await;
    let (a, b) = std::thread::scope(|scope| {
        let other = scope.spawn(|| node(&harness));
        (node(&harness), other.join().unwrap())
    });
    for client in [&a.client, &b.client] {
        ready(client).await;
        assert_eq!(found(client, "b499").await, ["order b499 has arrived"]);
        assert_eq!(found(client, "order").await.len(), 100);
    }
    b.client.say("g", "a crocodile with a violin").await;
    assert_eq!(
        found(&a.client, "violin").await,
        ["a crocodile with a violin"]
    );
    a.client.delete(&chat("g")).await.ok();
    assert_eq!(found(&b.client, "violin").await, [""; 0]);
    let talking = tokio::spawn(talk(b.client.clone()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    tokio::task::block_in_place(|| b.kill());
    let saved = talking.await.unwrap();
    assert!(!saved.is_empty());
    for content in &saved {
        let word = content.split(' ').nth(1).unwrap();
        assert_eq!(found(&a.client, word).await, [content.as_str()]);
    }
    let b = tokio::task::block_in_place(|| node(&harness));
    let last = saved.last().unwrap();
    let word = last.split(' ').nth(1).unwrap();
    assert_eq!(found(&b.client, word).await, [last.as_str()]);
    stopped(a);
    stopped(b);
}
