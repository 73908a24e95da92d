//! A search over everything on one node, for what another one stores and deletes.

use crate::harness::{ClusterHarness, figure, stopped};
use guestbook_testkit::client::{Client, chat};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);

async fn contents(client: &Client, q: &str) -> Vec<String> {
    let answer = client
        .post("/v1/search", &json!({"q": q, "k": 5}))
        .await
        .ok();
    let hits = answer["hits"].as_array().unwrap();
    let text = |hit: &Value| hit["content"].as_str().unwrap().to_owned();
    hits.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_on_one_node_finds_what_another_stores_and_nothing_that_another_deletes() {
    let harness = ClusterHarness::fast().await;
    let (a, b) = (harness.node(), harness.node());
    assert_eq!(contents(&a.client, "hello").await, [""; 0]); // makes the index
    let said = "the last train to the mountains leaves at nine";
    b.client.say("g1", said).await;
    let since = Instant::now();
    while contents(&a.client, said).await != [said] {
        assert!(since.elapsed() < LIMIT, "never found");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    figure("what another node stored is found after", since.elapsed());
    b.client.delete(&chat("g1")).await.ok();
    assert_eq!(contents(&a.client, said).await, [""; 0]);
    // The same id with other words, after a deletion elsewhere: the old vector must not be what is compared.
    let body = |content: &str| json!({"role": "user", "content": content, "timestamp": "2026-01-01T00:00:00Z"});
    for content in [said, "bananas are yellow and sweet"] {
        b.client
            .post_keyed(&chat("g2"), "key", &body(content))
            .await
            .ok();
        let since = Instant::now();
        while contents(&a.client, content).await != [content] {
            assert!(since.elapsed() < LIMIT, "never found: {content}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        b.client.delete(&chat("g2")).await.ok();
    }
    stopped(a);
    stopped(b);
}
