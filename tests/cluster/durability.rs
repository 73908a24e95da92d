//! A node warns of a server that could lose what was answered as saved.

use crate::harness::{ClusterHarness, stopped};
use guestbook_testkit::servers::{PostgresOptions, RedisOptions};

/// The lines of a node's log that warn so, on a server with these settings.
async fn warnings(settings: &[&str]) -> Vec<String> {
    let postgres = PostgresOptions {
        settings: settings.iter().map(|it| (*it).to_owned()).collect(),
        ..PostgresOptions::default()
    };
    let harness = ClusterHarness::start(postgres, RedisOptions::default()).await;
    let log = stopped(harness.node());
    let warns = |line: &&str| line.contains("WARN") && line.contains("can be lost");
    log.lines().filter(warns).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_could_lose_a_commit_is_named_with_its_setting() {
    let settings = ["synchronous_commit", "fsync", "full_page_writes"];
    for setting in settings {
        let warnings = warnings(&[&format!("{setting}=off")]).await;
        assert_eq!(warnings.len(), 1, "{setting}: {warnings:?}");
        assert!(
            warnings[0].contains(&format!("{setting} is off")),
            "{warnings:?}"
        );
    }
    assert_eq!(warnings(&[]).await, Vec::<String>::new());
}
