//! The tables go away and come back.

use crate::harness::{ClusterHarness, figure, stopped};
use guestbook_testkit::client::{Client, chat, said};
use guestbook_testkit::oracle::{Load, Nodes, Oracle, Plan, Stores};
use guestbook_testkit::process::{finish, stderr, stdout};
use guestbook_testkit::servers::{PostgresOptions, Proxy, RedisOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

/// Every kind of request is answered, with a 503 that says when to come again; the longest wait for one.
async fn assert_unavailable(client: &Client) -> Duration {
    let mut longest = Duration::ZERO;
    let path = chat("guest-0");
    let requests = [
        ("GET", path.clone()),
        ("POST", path.clone()),
        ("DELETE", path),
        ("GET", "/v1/guest/session/guest-0".to_owned()),
        ("GET", "/v1/guest/verify/guest-0".to_owned()),
        ("GET", "/v1/verify".to_owned()),
        ("GET", "/v1/user/user-0/conversations".to_owned()),
    ];
    for (method, path) in requests {
        let since = Instant::now();
        let request = client.request(method, &path);
        let body = said("user", "in the dark, of no ledger").to_string();
        let request = match method {
            "POST" => guestbook_testkit::client::json_body(request, body),
            _ => request,
        };
        let answer = guestbook_testkit::client::Answer::of(request).await;
        longest = longest.max(since.elapsed());
        answer.problem(503);
        assert!(answer.header("retry-after").is_some(), "{method} {path}");
    }
    assert_eq!(client.get("/readyz").await.status, 503);
    assert_eq!(client.get("/health").await.status, 200);
    longest
}

/// Until a write is answered as saved, and a read as well; how long it took.
async fn until_served(client: &Client, oracle: &Oracle) -> Duration {
    let since = Instant::now();
    let saved = oracle.book().saved;
    oracle
        .until("a message saved again", |book| book.saved > saved)
        .await;
    while client.get(&chat("guest-0")).await.status != 200 {
        assert!(since.elapsed() < DEADLINE, "never read again");
    }
    since.elapsed()
}

/// It answers all the time, and takes no message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_takes_no_messages_of_this_user_is_not_ready() {
    let harness = ClusterHarness::fast().await;
    harness
        .psql("CREATE ROLE writer LOGIN; GRANT ALL ON SCHEMA public TO writer")
        .await;
    let url = harness.database_url().replace("//guestbook", "//writer");
    let node = harness.node_at(&url, &harness.redis.url());
    assert_eq!(node.client.get("/readyz").await.status, 200);
    harness
        .psql("REVOKE INSERT ON message_cache FROM writer")
        .await;
    assert_eq!(node.client.get("/readyz").await.status, 503);
    harness
        .psql("GRANT INSERT ON message_cache TO writer")
        .await;
    assert_eq!(node.client.get("/readyz").await.status, 200);
    stopped(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_stopped_and_started() {
    let harness = ClusterHarness::durable().await;
    let node = harness.node();
    let oracle = Arc::new(Oracle::default());
    let load = Load::start(&oracle, &Nodes::of(&[&node]), Plan::light());
    oracle.progress(100).await;
    harness.postgres.stop().await;
    let longest = assert_unavailable(&node.client).await;
    figure("the longest answer while PostgreSQL was down", longest);
    harness.postgres.start_again().await;
    figure(
        "served again after PostgreSQL was started",
        until_served(&node.client, &oracle).await,
    );
    oracle.progress(100).await;
    load.finish().await;
    oracle.assert_clean(&harness, &[&node.client]).await;
    stopped(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_killed_and_recovers() {
    let harness = ClusterHarness::durable().await;
    let node = harness.node();
    let oracle = Arc::new(Oracle::default());
    let load = Load::start(&oracle, &Nodes::of(&[&node]), Plan::light());
    for _ in 0..3 {
        oracle.progress(60).await;
        harness.postgres.kill().await;
        harness.postgres.start_again().await;
        figure(
            "served again after PostgreSQL had recovered",
            until_served(&node.client, &oracle).await,
        );
    }
    oracle.progress(60).await;
    load.finish().await;
    oracle.assert_clean(&harness, &[&node.client]).await;
    stopped(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_hangs() {
    let harness = ClusterHarness::durable().await;
    let node = harness.node();
    let oracle = Arc::new(Oracle::default());
    let load = Load::start(&oracle, &Nodes::of(&[&node]), Plan::light());
    // Shorter and longer than a request may take.
    for seconds in [3, 7] {
        oracle.progress(60).await;
        harness.postgres.pause().await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        harness.postgres.resume().await;
        figure(
            "served again after PostgreSQL had hung",
            until_served(&node.client, &oracle).await,
        );
    }
    oracle.progress(60).await;
    load.finish().await;
    figure(
        "the longest answer while PostgreSQL hung",
        oracle.book().slowest,
    );
    oracle.assert_clean(&harness, &[&node.client]).await;
    stopped(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_a_firewall_has_forgotten() {
    let harness = ClusterHarness::fast().await;
    let proxy = Proxy::start(&harness.postgres.address());
    let node = harness.node_at(&proxy.before(&harness.database_url()), &harness.redis.url());
    let oracle = Arc::new(Oracle::default());
    let plan = Plan {
        clients: 24,
        ..Plan::light()
    };
    let load = Load::start(&oracle, &Nodes::of(&[&node]), plan);
    oracle.progress(200).await;
    // As many readers as it takes to have every connection of the pool.
    let since = Instant::now();
    while proxy.open() < 16 {
        assert!(
            since.elapsed() < DEADLINE,
            "only {} connections",
            proxy.open()
        );
        let reads = (0..64).map(|_| node.client.get("/v1/user/user-0/conversations"));
        futures_util::future::join_all(reads).await;
    }
    let open = proxy.open();
    proxy.forget();
    let served = until_served(&node.client, &oracle).await;
    figure(
        &format!("served again after {open} connections were forgotten"),
        served,
    );
    let since = Instant::now();
    let unavailable = oracle.book().unavailable;
    oracle.progress(600).await;
    let unavailable = oracle.book().unavailable - unavailable;
    figure(
        &format!("600 messages after that, with {unavailable} answers of 503"),
        since.elapsed(),
    );
    load.finish().await;
    figure(
        "the longest answer over forgotten connections",
        oracle.book().slowest,
    );
    oracle.assert_clean(&harness, &[&node.client]).await;
    stopped(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_postgres_does_not_start_and_says_why_in_a_line() {
    let options = PostgresOptions {
        password: Some("s3cret".into()),
        ..PostgresOptions::fast()
    };
    let harness = ClusterHarness::start(options, RedisOptions::default()).await;
    let refused = |url: &str| {
        let command = harness.command("serve", url, &harness.redis.url());
        let output = tokio::task::block_in_place(|| finish(command));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(stdout(&output), "");
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(lines[0].starts_with("guestbook: "), "{said}");
        for secret in ["s3cret", "wr0ng"] {
            assert!(!said.contains(secret), "{said}");
        }
        println!("said: {}", said.trim());
        said
    };
    let url = harness.database_url();
    let said = refused(&url.replace("s3cret", "wr0ng"));
    assert!(said.contains("password"), "{said}");
    let said = refused(&url.replace(&harness.database, "nowhere"));
    assert!(said.contains("no such database"), "{said}");
    harness.postgres.stop().await;
    let said = refused(&url);
    assert!(said.contains("cannot be reached"), "{said}");
    let (code, said) = harness.verify().await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("cannot be reached"), "{said}");
}
