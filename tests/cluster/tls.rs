//! Encrypted ways to both servers, and whom a node believes.

use crate::rig::{Rig, stopped};
use guestbook_testkit::process::{finish, stderr};
use guestbook_testkit::servers::{PostgresOptions, RedisOptions};

/// Of 127.0.0.1, for which its certificate is, and of 127.0.0.2, for which it is not.
async fn rig() -> Rig {
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
    let rig = Rig::start(postgres, redis).await;
    let only_tls = rig.postgres.socket_folder().join("data/pg_hba.conf");
    let rules = "local all all trust\nhostssl all all 127.0.0.0/8 scram-sha-256\n";
    std::fs::write(only_tls, rules).unwrap();
    rig.psql("SELECT pg_reload_conf()").await;
    rig
}

fn cache_url(rig: &Rig) -> String {
    format!("{}?ca={}", rig.redis.url(), rig.redis.authority().display())
}

async fn serves(rig: &Rig, database_url: &str) {
    let node = rig.node_at(database_url, &cache_url(rig));
    let answer = node.client.say("g1", "Hello").await;
    assert_eq!(
        answer["stored_in"],
        serde_json::json!(["redis", "postgresql"])
    );
    let log = stopped(node);
    assert!(!log.contains("s3cret"), "{log}");
}

fn refuses(rig: &Rig, database_url: &str) -> String {
    let command = rig.command("serve", database_url, &cache_url(rig));
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
    let rig = rig().await;
    let url = rig.database_url();
    let elsewhere = url.replace("@127.0.0.1:", "@127.0.0.2:");
    let authority = rig.postgres.authority().display().to_string();
    let strangers = rig.redis.authority().display().to_string();

    serves(
        &rig,
        &format!("{url}?sslmode=verify-full&sslrootcert={authority}"),
    )
    .await;
    serves(
        &rig,
        &format!("{elsewhere}?sslmode=verify-ca&sslrootcert={authority}"),
    )
    .await;
    serves(&rig, &format!("{url}?sslmode=require")).await;
    serves(&rig, &url).await; // prefer: the server lets nobody in without

    for url in [
        format!("{url}?sslmode=verify-full"),
        format!("{url}?sslmode=verify-full&sslrootcert={strangers}"),
        format!("{url}?sslmode=verify-ca&sslrootcert={strangers}"),
        format!("{elsewhere}?sslmode=verify-full&sslrootcert={authority}"),
    ] {
        let said = refuses(&rig, &url);
        assert!(
            said.contains("TLS") && said.contains("certificate"),
            "{said}"
        );
    }
    let said = refuses(&rig, &format!("{url}?sslmode=disable"));
    assert!(!said.contains("certificate"), "{said}");
    let said = refuses(
        &rig,
        &format!("{url}?sslmode=verify-full&sslrootcert=/nowhere/ca.pem"),
    );
    assert!(said.contains("/nowhere/ca.pem"), "{said}");
}
