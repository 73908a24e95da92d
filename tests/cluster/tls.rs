//! Encrypted ways to both servers, and whom a node believes.

use crate::harness::{ClusterHarness, stopped};
use guestbook_testkit::process::{finish, stderr};
use guestbook_testkit::servers::{PostgresOptions, RedisOptions};

/// Of 127.0.0.1, for which its certificate is, and of 127.0.0.2, for which it is not.
async fn harness() -> ClusterHarness {
    let mut postgres = PostgresOptions {
        password: Some("s3cret".into()),
        tls: true,
        ..PostgresOptions::fast()
    };
    postgres
        .settings
        .push("listen_addresses='127.0.0.1,127.0.0.2'".into());
    let redis = RedisOptions {
        password: Some("s3cret".into()),
        tls: true,
        ..RedisOptions::default()
    };
    let harness = ClusterHarness::start(postgres, redis).await;
    let only_tls = harness.postgres.socket_folder().join("data/pg_hba.conf");
    let rules = "local all all trust\nhostssl all all 127.0.0.0/8 scram-sha-256\n";
    std::fs::write(only_tls, rules).unwrap();
    harness.psql("SELECT pg_reload_conf()").await;
    harness
}

fn cache_url(harness: &ClusterHarness) -> String {
    format!(
        "{}?ca={}",
        harness.redis.url(),
        harness.redis.authority().display()
    )
}

async fn serves(harness: &ClusterHarness, database_url: &str) {
    let node = harness.node_at(database_url, &cache_url(harness));
    let answer = node.client.say("g1", "Hello").await;
    assert_eq!(
        answer["stored_in"],
        serde_json::json!(["redis", "postgresql"])
    );
    let log = stopped(node);
    assert!(!log.contains("s3cret"), "{log}");
}

fn refuses(harness: &ClusterHarness, database_url: &str) -> String {
    let command = harness.command("serve", database_url, &cache_url(harness));
    let output = tokio::task::block_in_place(|| finish(command));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.starts_with("guestbook: ") && said.lines().count() == 1,
        "{said}"
    );
    assert!(!said.contains("s3cret"), "{said}");
    println!("said: {}", said.trim());
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_believes_whom_its_urls_tell_it_to() {
    let harness = harness().await;
    let url = harness.database_url();
    let elsewhere = url.replace("@127.0.0.1:", "@127.0.0.2:");
    let authority = harness.postgres.authority().display().to_string();
    let orphans = harness.redis.authority().display().to_string();

    serves(
        &harness,
        &format!("{url}?sslmode=verify-full&sslrootcert={authority}"),
    )
    .await;
    serves(
        &harness,
        &format!("{elsewhere}?sslmode=verify-ca&sslrootcert={authority}"),
    )
    .await;
    serves(&harness, &format!("{url}?sslmode=require")).await;
    serves(&harness, &url).await; // prefer: the server lets nobody in without

    for url in [
        format!("{url}?sslmode=verify-full"),
        format!("{url}?sslmode=verify-full&sslrootcert={orphans}"),
        format!("{url}?sslmode=verify-ca&sslrootcert={orphans}"),
        format!("{elsewhere}?sslmode=verify-full&sslrootcert={authority}"),
    ] {
        let said = refuses(&harness, &url);
        assert!(
            said.contains("TLS") && said.contains("certificate"),
            "{said}"
        );
    }
    let said = refuses(&harness, &format!("{url}?sslmode=disable"));
    assert!(!said.contains("certificate"), "{said}");
    let said = refuses(
        &harness,
        &format!("{url}?sslmode=verify-full&sslrootcert=/nowhere/ca.pem"),
    );
    assert!(said.contains("/nowhere/ca.pem"), "{said}");
}
