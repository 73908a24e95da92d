//! A stop in the middle of a large batch of lines without ids: the client is told line by line what is stored, and that is true.
//!
//! Seen to fail: when a batch did not heed the stop, the connection was closed after the drain time without an answer
//! (`IncompleteMessage`), with 36,864 of the 50,000 stored.

use guestbook_testkit::client::{Answer, Client, said, with};
use guestbook_testkit::oracle::{Stores, within};
use guestbook_testkit::pair::Pair;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const LINES: usize = 50_000;
const GUESTS: usize = 200;
/// What a stop may take.
const LIMIT: Duration = Duration::from_secs(10);

fn post(client: &Client) -> JoinHandle<Answer> {
    let line = |number: usize| {
        let message = said("user", &format!("line {number}"));
        with(
            message,
            "guest_id",
            json!(format!("guest-{}", number % GUESTS)),
        )
    };
    let text: String = (0..LINES)
        .map(|number| format!("{}\n", line(number)))
        .collect();
    let request = client.request("POST", "/v1/messages/batch");
    let request = request.header("Content-Type", "application/x-ndjson");
    tokio::spawn(Answer::of(request.body(text)))
}

/// The lines that were answered as saved; all others must say that nothing of them was stored.
fn saved(answers: &[Value]) -> Vec<String> {
    assert_eq!(answers.len(), LINES);
    let mut saved = Vec::new();
    for (number, answer) in answers.iter().enumerate() {
        let is_refused = |detail: &str| {
            detail.contains("nothing of it was stored") || detail.contains("nothing was stored")
        };
        match answer["status"] == "saved" {
            true => saved.push(format!("line {number}")),
            false => assert!(is_refused(answer["detail"].as_str().unwrap()), "{answer}"),
        }
    }
    saved
}

async fn stop_in_the_middle(pair: Pair) {
    let node = pair.serve();
    let asking = post(&node.client);
    let count = "SELECT count(*) FROM message_cache";
    let since = Instant::now();
    while pair.query(count).await[0][0] == "0" {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "nothing is stored"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    node.signal("TERM");
    let since = Instant::now();
    let answer = asking.await.unwrap();
    let (status, log) = tokio::task::block_in_place(|| node.ended());
    let took = since.elapsed();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < within(LIMIT), "it took {took:?}: {log}");
    let mut saved = saved(&answer.lines());
    let node = pair.serve();
    let mut rows: Vec<_> = pair
        .rows()
        .await
        .into_iter()
        .map(|row| row.content)
        .collect();
    println!(
        "figure: stopped in a batch of {LINES} lines on {}: {} saved, {} refused, exit 0 after {took:.2?}",
        pair.list_store(),
        saved.len(),
        LINES - saved.len()
    );
    saved.sort_unstable();
    rows.sort_unstable();
    assert!(
        saved == rows,
        "{} saved, {} stored",
        saved.len(),
        rows.len()
    );
    let (code, said) = pair.verify().await;
    assert_eq!(code, 0, "{said}");
    crate::adverse::words::stopped(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_a_batch_is_told_line_by_line_on_sqlite_and_sled() {
    stop_in_the_middle(Pair::sqlite_sled().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_a_batch_is_told_line_by_line_on_postgres_and_redis() {
    stop_in_the_middle(Pair::postgres_redis().await).await;
}
