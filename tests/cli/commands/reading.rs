//! `guestbook sql` and `guestbook reembed`.

use crate::commands::verifying::{filled, verify};
use guestbook_testkit::process::{Place, peak_memory, stderr, stdout};
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

/// What a guest has sent may be a command to the terminal of whoever reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_shows_escape_sequences_of_stored_text_and_does_not_send_them() {
    let place = Place::new();
    let server = place.serve();
    let content = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\u{202e}two\nlines\t{\"a\": \"\\n ü\"}";
    server.client.say("g1", content).await;
    server.stop();
    let statement = "SELECT content, content AS \"\u{1b}[1m\" FROM message_cache";
    let output = place.run(&["sql", statement]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown =
        "\\u{1b}]0;owned\\u{7}\\u{1b}[2J\\u{9b}31m\\r\\u{202e}two\\nlines\\t{\"a\": \"\\n ü\"}";
    assert_eq!(
        stdout(&output),
        format!("content|\\u{{1b}}[1m\n{shown}|{shown}\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_holds_no_more_of_a_huge_result_than_a_part() {
    use std::io::Read;
    let place = filled().await;
    // 400 MB in all, if it were kept.
    let huge = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000)
        SELECT i, hex(zeroblob(500)) FROM n";
    let mut command = place.command(&["sql", huge]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (mut out, mut buffer) = (child.stdout.take().unwrap(), vec![0; 1 << 20]);
    let (mut bytes, mut highest) = (0, 0);
    // The last part stays in the pipe until it is read, so the process is there whenever it is asked.
    while bytes < 400_000_000 {
        bytes += out.read(&mut buffer).unwrap();
        highest = highest.max(peak_memory(child.id()));
    }
    out.read_to_end(&mut buffer).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(highest < 200_000, "{highest} kB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_gives_what_was_found_before_a_row_that_cannot_be_computed() {
    let place = filled().await;
    let statement =
        "SELECT abs(value) FROM (SELECT 1 AS value UNION ALL SELECT -9223372036854775808)";
    let output = place.run(&["sql", statement]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stdout(&output).ends_with("\n1\n"), "{}", stdout(&output));
    assert!(
        stderr(&output).contains("integer overflow"),
        "{}",
        stderr(&output)
    );
}
