//! `guestbook sql` and `guestbook reembed`.

use crate::process::{Place, stderr, stdout};
use crate::verifying::{filled, verify};
use std::process::Stdio;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_reads_while_the_server_runs_and_after_it_has_stopped() {
    let place = Place::new();
    let server = place.serve();
    server.client.say("g1", "Hello").await;
    let statement = "SELECT role, content, metadata FROM message_cache";
    let read = || {
        let output = place.run(&["sql", statement]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    assert_eq!(read(), "role|content|metadata\nuser|Hello|NULL\n");
    server.stop();
    assert_eq!(read(), "role|content|metadata\nuser|Hello|NULL\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_writes_nothing() {
    let place = filled().await;
    let statements = [
        "DELETE FROM message_cache",
        "UPDATE message_cache SET content = 'x'",
        "DROP TABLE message_cache",
        "PRAGMA user_version = 7",
        "PRAGMA query_only = OFF; DELETE FROM message_cache",
        "SELECT 1; DELETE FROM message_cache",
        "WITH x AS (SELECT 1) DELETE FROM message_cache",
        "no statement",
    ];
    for statement in statements {
        let output = place.run(&["sql", statement]);
        let refused = output.status.code() == Some(2) && stderr(&output).lines().count() == 1;
        assert!(refused, "{statement}: {output:?}");
    }
    let (code, said) = verify(&place, &[]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn sql_without_a_database_says_so() {
    let place = Place::new();
    let output = place.run(&["sql", "SELECT 1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no database"));
    assert!(!place.data().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reembed_computes_what_is_missing_or_of_another_model() {
    let place = filled().await;
    place.damage(
        "DELETE FROM cache_embeddings WHERE id = (SELECT id FROM message_cache WHERE content = 'one');
         UPDATE cache_embeddings SET embedding_model = 'older:256:00000000'
             WHERE id = (SELECT id FROM message_cache WHERE content = 'two');",
    );
    let output = place.run(&["reembed"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("2 of 2"), "{}", stdout(&output));
    let (code, said) = verify(&place, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(stdout(&place.run(&["reembed"])).contains("0 of 0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reembed_beside_a_running_server_is_refused() {
    let place = Place::new();
    let server = place.serve();
    let output = place.run(&["reembed"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("in use"));
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let place = filled().await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i FROM n";
    let mut command = place.command(&["sql", many]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}
