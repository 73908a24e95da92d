//! What is pending is still pending after a restart, and then done.

use crate::embedding_worker::harness::{client, embedded, given_up, good, impatient, note, status};
use guestbook::core::EmbeddingState;
use guestbook_testkit::embedding_server::{listen, serve};
use guestbook_testkit::service_harness::Plan;
use guestbook_testkit::service_harness::words::until;

#[tokio::test]
async fn what_is_pending_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (_listener, stalling) = listen().await;
    let mut plan = impatient(Plan::folder(&folder), &stalling);
    let harness = plan.start().ready().await;
    harness.say("ada", "one").await;
    harness.say("ada", "two").await;
    harness.stop().await;

    let (base, _) = serve(good).await;
    plan.embedder = Some(client(&base, "m"));
    let harness = plan.start().ready().await;
    embedded(&harness, "ada", 2).await; // by itself: no message woke it
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn tries_are_counted_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (base, log) = serve(|_| status(500)).await;
    let mut plan = impatient(Plan::folder(&folder), &base);
    plan.settings.embed_attempts = 4;
    plan.settings.embed_backoff = std::time::Duration::from_secs(3600);
    let harness = plan.start().ready().await;
    harness.say("ada", "one").await;
    until("the try is noted", || async {
        note(&harness, "ada", 0)
            .await
            .is_some_and(|(_, cause)| cause.contains("500"))
    })
    .await;
    harness.stop().await;
    for life in 2..=4 {
        let harness = plan.start().ready().await;
        until("it was tried once more", || async {
            log.lock().unwrap().len() == life
        })
        .await;
        if life == 4 {
            given_up(&harness, "ada", 0).await;
        } else {
            until("the try is noted", || async {
                let pending = harness
                    .database
                    .vectors
                    .vectors_pending(None, 10)
                    .await
                    .unwrap();
                pending
                    .first()
                    .is_some_and(|one| one.attempts as usize == life)
            })
            .await;
            assert_eq!(
                note(&harness, "ada", 0).await.unwrap().0,
                EmbeddingState::Pending
            );
        }
        harness.stop().await;
    }
}
