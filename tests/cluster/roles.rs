//! Roles that may not do what a node has to: the server's own words, and what to do.

use crate::harness::{ClusterHarness, stopped};
use guestbook_testkit::process::{finish, stderr};

/// The URL of a role of its own.
async fn role(harness: &ClusterHarness, name: &str) -> String {
    let create = format!("CREATE ROLE {name} LOGIN PASSWORD 'app'");
    harness.psql(&create).await;
    let address = harness.postgres.address();
    format!("postgres://{name}:app@{address}/{}", harness.database)
}

fn refused(harness: &ClusterHarness, url: &str) -> String {
    let command = harness.command("serve", url, &harness.redis.url());
    let output = tokio::task::block_in_place(|| finish(command));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let said = stderr(&output);
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{said}");
    }
    assert!(!said.contains("this version"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_not_make_tables_is_told_the_grant() {
    let harness = ClusterHarness::fast().await;
    let url = role(&harness, "app").await;
    harness
        .psql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        .await;
    let said = refused(&harness, &url);
    assert_says(
        &said,
        &["permission denied for schema public", "GRANT CREATE"],
    );
    harness
        .psql("GRANT CREATE, USAGE ON SCHEMA public TO app")
        .await;
    stopped(harness.node_at(&url, &harness.redis.url()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_whose_tables_belong_to_another_is_told_whose_they_have_to_be() {
    let harness = ClusterHarness::fast().await;
    stopped(harness.node());
    let url = role(&harness, "app").await;
    harness
        .psql("GRANT CREATE, USAGE ON SCHEMA public TO app")
        .await;
    let said = refused(&harness, &url);
    assert_says(
        &said,
        &["permission denied for table", "ALTER TABLE", "--no-owner"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_is_called_read_only() {
    let harness = ClusterHarness::fast().await;
    let url = role(&harness, "app").await;
    harness
        .psql("GRANT CREATE, USAGE ON SCHEMA public TO app")
        .await;
    harness
        .psql("ALTER ROLE app SET default_transaction_read_only = on")
        .await;
    let said = refused(&harness, &url);
    assert_says(&said, &["read-only", "address of the primary"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_of_a_newer_version_is_told_by_its_number_and_who_wrote_it() {
    let harness = ClusterHarness::fast().await;
    stopped(harness.node());
    harness.psql(
        "INSERT INTO refinery_schema_history VALUES (99, 'branches', '2027-01-01T00:00:00Z', '1')",
    )
    .await;
    harness
        .psql("UPDATE guestbook_meta SET value = '9.9.9' WHERE key = 'schema_written_by'")
        .await;
    let said = refused(&harness, &harness.database_url());
    for word in [
        "99 (branches)",
        "a newer version, guestbook 9.9.9, wrote them",
    ] {
        assert!(said.contains(word), "{said}");
    }
}
