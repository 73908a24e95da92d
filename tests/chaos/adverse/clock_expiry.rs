//! What a clock that was wrong for a while does to lists that live a day. By the clock they expire, and what has expired is hidden;
//! but nothing is removed because of a leap ahead, and a clock that is behind keeps its lists as long as any other.
//!
//! Seen to fail: with a sweep that believed every clock, `its day is not over` of the silent guest's list; with `PEXPIREAT` by the
//! node's time in Redis, `never right: … "owner": "early", "reason": "there is no list"`.

use crate::adverse::clock::{DAY, Wall};
use crate::adverse::words::{stopped, until_verified};
use guestbook_testkit::oracle::Stores;
use guestbook_testkit::pair::{Lists, Pair};
use guestbook_testkit::process::Running;
use std::time::Duration;

/// More than the life of a list.
const LEAP: i64 = DAY + 60;

/// How many messages a guest's live list has, and the seconds it still lives; `None` when there is none.
async fn list(node: &Running, guest: &str) -> Option<(usize, u64)> {
    let answer = node.client.get(&format!("/v1/guest/session/{guest}")).await;
    if answer.status == 404 {
        return None;
    }
    let session = answer.ok();
    let messages = session["messages"].as_array().unwrap().len();
    Some((messages, session["ttl"].as_u64().unwrap()))
}

async fn say(node: &Running, guest: &str, times: usize) {
    for _ in 0..times {
        node.client.say(guest, "Hello").await;
    }
}

/// Until the sweep has passed more than once.
async fn swept() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

async fn wrong_for_a_while(mut pair: Pair) {
    let Some(wall) = Wall::of(&pair) else { return };
    pair.settings = vec!["--sweep-interval", "400ms"];
    let node = wall.serve(&pair);
    say(&node, "silent", 3).await;
    say(&node, "speaker", 2).await;
    until_verified(&node.client).await;

    wall.put(LEAP);
    assert_eq!(
        list(&node, "silent").await,
        None,
        "by this clock its day is over"
    );
    say(&node, "speaker", 1).await;
    assert_eq!(list(&node, "speaker").await.unwrap().0, 1, "it began anew");
    swept().await;
    until_verified(&node.client).await;

    wall.put(0);
    let (messages, seconds) = list(&node, "silent").await.expect("its day is not over");
    assert!(
        messages == 3 && (86_000..=86_400).contains(&seconds),
        "{messages}, {seconds} s"
    );
    say(&node, "speaker", 1).await;
    let (messages, seconds) = list(&node, "speaker").await.unwrap();
    assert!(
        messages == 2 && seconds > 86_400,
        "{messages}, {seconds} s: a promise was taken back"
    );
    swept().await;
    until_verified(&node.client).await;
    assert_eq!(
        pair.lists(&["silent".into(), "speaker".into()])
            .await
            .map_len(),
        [3, 2]
    );

    wall.put(-LEAP);
    say(&node, "early", 3).await;
    swept().await;
    until_verified(&node.client).await;
    let (messages, seconds) = list(&node, "early").await.expect("a list of a moment ago");
    assert!(
        messages == 3 && (86_000..=86_400).contains(&seconds),
        "{messages}, {seconds} s"
    );
    assert_eq!(pair.lists(&["early".into()]).await.map_len(), [3]);
    if let Lists::Redis(server) = &pair.lists {
        let left: i64 = server
            .command(&["TTL", "guest:early"])
            .await
            .trim()
            .parse()
            .unwrap();
        assert!((86_000..=86_400).contains(&left), "{left} s");
    }

    wall.put(0);
    assert_eq!(
        list(&node, "early").await,
        None,
        "it was said more than a day ago, by every clock"
    );
    swept().await;
    until_verified(&node.client).await;
    say(&node, "early", 1).await;
    assert_eq!(list(&node, "early").await.unwrap().0, 1);
    until_verified(&node.client).await;
    let history = node.client.history("early").await;
    assert_eq!(guestbook_testkit::client::sequences(&history), [0, 1, 2, 3]);
    let (code, said) = pair.verify().await;
    assert_eq!(code, 0, "{said}");
    stopped(node);
    println!(
        "figure: a clock a day and a minute ahead, then behind, on {}: lists right and verify 0 at every step",
        pair.list_store()
    );
}

/// The lengths of lists.
trait Lengths {
    fn map_len(&self) -> Vec<usize>;
}

impl<T> Lengths for Vec<Vec<T>> {
    fn map_len(&self) -> Vec<usize> {
        self.iter().map(Vec::len).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_wrong_for_a_while_removes_nothing_on_sqlite_and_sled() {
    wrong_for_a_while(Pair::sqlite_sled().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_wrong_for_a_while_removes_nothing_on_postgres_and_redis() {
    wrong_for_a_while(Pair::postgres_redis().await).await;
}
