//! Texts that something on the way might take for more than texts: the same requests to the real program on every pair of stores
//! and on the reference in memory give the same answers, what was sent comes back byte for byte from history, session, tables
//! and lists, and nothing is interpreted: no SQL, no pattern, no path, no line of the log.
//!
//! Put in by hand and caught: contents normalised to NFC before they are stored ("accents apart"), contents trimmed ("spaces
//! around"), a list item written through a lossy conversion, `LIKE` in place of `=` where a user's conversations are looked up
//! (the user `%` was given those of all others), and a NUL let through (PostgreSQL answered 500 where memory stored it).
#![cfg(all(feature = "postgres", feature = "redis"))]
#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod raw;
mod script;
mod stand;
mod words;

use stand::{Pair, Stand};

/// The script on a pair and on the reference; every answer compared, then what the stores hold, then the log.
async fn compare(pair: Pair) {
    let (reference, subject) = (Stand::open(Pair::Memory).await, Stand::open(pair).await);
    let expected = script::run(&reference.node.client).await;
    let found = script::run(&subject.node.client).await;
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "left: {pair:?}, right: the reference");
    }
    let report = subject.node.client.verify(None).await;
    assert_eq!(report["ok"], true, "{report}");
    let log = raw::check(subject).await;
    assert_nothing_in(&log);
    let (status, log) = tokio::task::block_in_place(|| reference.node.ended_by("TERM"));
    assert!(status.success());
    assert_nothing_in(&log);
    println!(
        "figure: texts {pair:?}: {} answers compared, 0 differences",
        found.len()
    );
}

/// Every line of the log is one event, whatever was sent, and none repeats a content.
fn assert_nothing_in(log: &str) {
    for line in log.lines() {
        let event: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(
            event.is_ok_and(|event| event.is_object()),
            "no event: {line}"
        );
        assert!(!line.contains(words::MARK), "a content in the log: {line}");
    }
}

/// One test for each pair of stores.
macro_rules! pairs {
    ($($pair:ident: $which:ident,)*) => {$(
        mod $pair {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn every_text_has_the_same_answer_and_comes_back_as_it_was() {
                crate::unicode::compare(crate::unicode::Pair::$which).await;
            }
        }
    )*};
}

pairs! {
    memory: Memory,
    sqlite_sled: SqliteSled,
    sqlite_redis: SqliteRedis,
    postgres_sled: PostgresSled,
    postgres_redis: PostgresRedis,
}
