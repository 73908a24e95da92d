//! The process is killed while the index over words is filled: the next start goes on, and in the end every message is in it once.

use crate::recovery::harness::done;
use guestbook_testkit::client::Client;
use guestbook_testkit::process::{Place, Running};
use serde_json::{Value, json};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Some pages of those that are filled in one transaction each.
const MESSAGES: u64 = 32_000;
const PER_REQUEST: u64 = 1_000;
const LIMIT: Duration = Duration::from_secs(60);

const FILLED: &str = "SELECT value FROM guestbook_meta WHERE key = 'text_index_filled'";
const IN_IT: &str =
    "SELECT count(*), count(DISTINCT rowid) FROM message_words WHERE message_words MATCH 'order'";

async fn fill(client: &Client) {
    for batch in 0..MESSAGES / PER_REQUEST {
        let one = |n: u64| {
            let number = batch * PER_REQUEST + n;
            json!({
                "guest_id": format!("g{}", number % 50), "role": "user",
                "content": format!("order {number} has not arrived"), "timestamp": "2026-01-01T00:00:00Z"
            })
        };
        let body: Vec<Value> = (0..PER_REQUEST).map(one).collect();
        let answer = client.post("/v1/messages/batch", &json!(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// The row up to which messages are in the index; `None` when there is nothing to fill.
fn filled(place: &Place) -> Option<i64> {
    let connection = rusqlite::Connection::open(place.file()).unwrap();
    let value = connection.query_row(FILLED, [], |row| row.get::<_, String>(0));
    value.ok().map(|value| value.parse().unwrap())
}

fn begin(place: &Place) -> Child {
    let mut command = place.command(&["--listen", "127.0.0.1:0", "--text-index", "on"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// A start that is killed when it has filled one page more than there were; where it was then.
fn begin_and_kill(place: &Place, before: i64) -> Option<i64> {
    let (mut child, since) = (begin(place), Instant::now());
    while filled(place).unwrap_or(0) <= before {
        assert!(since.elapsed() < LIMIT, "nothing is filled");
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    filled(place)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_the_index_over_words_is_filled_loses_nothing() {
    let place = Place::new();
    let node = place.serve();
    fill(&node.client).await;
    tokio::task::block_in_place(|| node.stop());
    let first = tokio::task::block_in_place(|| begin_and_kill(&place, 0));
    let first = first.expect("the kill met the middle");
    let second = tokio::task::block_in_place(|| begin_and_kill(&place, first));
    assert!(second.is_none_or(|second| second > first), "it began anew");
    let command = place.command(&["--listen", "127.0.0.1:0", "--text-index", "on"]);
    let node = tokio::task::block_in_place(|| Running::start(command));
    assert_eq!(filled(&place), None);
    for number in [0, first - 1, first, MESSAGES as i64 - 1] {
        let q = json!({"q": format!("order {number}"), "mode": "text"});
        let answer = node.client.post("/v1/search", &q).await.ok();
        let expected = format!("order {number} has not arrived");
        assert_eq!(answer["hits"][0]["content"], expected, "{answer}");
        assert_eq!(answer["hits"].as_array().unwrap().len(), 1, "{answer}");
    }
    tokio::task::block_in_place(|| node.stop());
    let connection = rusqlite::Connection::open(place.file()).unwrap();
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let in_it: (u64, u64) = connection.query_row(IN_IT, [], read).unwrap();
    assert_eq!(in_it, (MESSAGES, MESSAGES), "messages, and rows");
    done(place.command(&["verify"]));
}
