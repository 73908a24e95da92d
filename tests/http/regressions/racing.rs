//! Two first messages of one guest made two conversations; two later ones made two messages of one sequence, or a 500.

use crate::regressions::{column, open, value};
use guestbook_testkit::http_harness::client::{said, sequences};
use guestbook_testkit::http_harness::server::Site;
use std::collections::BTreeSet;

/// Posts so many messages of one guest at once, each from a client of its own; the sequences answered.
async fn race(site: &Site, guest: &'static str, count: usize) -> BTreeSet<u64> {
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(count));
    let posts: Vec<_> = (0..count)
        .map(|number| {
            let barrier = barrier.clone();
            let client = guestbook_testkit::http_harness::client::Client::new(site.client.address);
            tokio::spawn(async move {
                barrier.wait().await;
                let content = format!("message {number}");
                client.message(guest, &said("user", &content)).await
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    for post in posts {
        let answer = post.await.unwrap().ok();
        seen.insert(answer["sequence"].as_u64().unwrap());
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_first_messages_at_once_begin_one_conversation() {
    let site = open().await;
    let seen = race(&site, "g1", 64).await;
    assert_eq!(seen, (0..64).collect());
    assert_eq!(value(&site, "SELECT count(*) FROM conversation_cache"), "1");
    assert_eq!(value(&site, "SELECT count(*) FROM usage_metrics"), "1");
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_messages_have_dense_sequences_and_the_right_count() {
    let site = open().await;
    site.client.say("g1", "first").await;
    let seen = race(&site, "g1", 63).await;
    assert_eq!(seen, (1..64).collect());
    let history = site.client.history("g1").await;
    assert_eq!(sequences(&history), (0..64).collect::<Vec<_>>());
    let count = "SELECT message_count FROM conversation_cache";
    assert_eq!(column(&site, count), ["64"]);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deletion_among_messages_leaves_whole_chats_only() {
    let site = open().await;
    for _ in 0..5 {
        let path = guestbook_testkit::http_harness::client::chat("g1");
        let (_, deleted, _) = tokio::join!(
            race(&site, "g1", 8),
            site.client.delete(&path),
            race(&site, "g1", 8),
        );
        deleted.ok();
        let history = site.client.history("g1").await;
        let dense: Vec<_> = (0..history.len() as u64).collect();
        assert_eq!(sequences(&history), dense);
    }
    site.finish().await;
}
