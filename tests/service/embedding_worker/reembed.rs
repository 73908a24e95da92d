//! Computing everything again: what is missing, what failed, what is of another model.

use crate::embedding_worker::harness::{
    client, conversation_audit, embedded, good, impatient, status, vectors,
};
use guestbook::core::error::ErrorKind;
use guestbook::service::ReembedProgress;
use guestbook_testkit::embedding_server::serve;
use guestbook_testkit::service_harness::words::says;
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const MESSAGES: usize = 200;

/// A folder with messages that have vectors of the model `m`.
async fn old_vectors(folder: &tempfile::TempDir, base: &str) -> Plan {
    let plan = impatient(Plan::folder(folder), base);
    let harness = plan.start().ready().await;
    let texts = (1..=MESSAGES).map(|n| says("ada", &"x".repeat(n)));
    harness.store(vec![texts.collect()]).await;
    embedded(&harness, "ada", MESSAGES).await;
    harness.stop().await;
    plan
}

async fn of_model(harness: &ServiceHarness, model: &str) -> usize {
    let messages = conversation_audit(harness, "ada").await;
    let ours = |found: &guestbook::storage::database::FoundVector| found.model.starts_with(model);
    messages
        .iter()
        .filter(|message| message.vector.as_ref().is_some_and(ours))
        .count()
}

fn assert_monotone(seen: &[ReembedProgress], total: u64) {
    assert!(seen.len() > 1, "progress is shown after each page");
    assert_eq!((seen[0].done, seen[0].total), (0, total));
    for pair in seen.windows(2) {
        assert!(
            pair[0].done <= pair[1].done && pair[1].done <= total,
            "{pair:?}"
        );
        assert!(pair[0].failed <= pair[1].failed, "{pair:?}");
    }
}

#[tokio::test]
async fn vectors_of_another_model_are_replaced_and_missing_ones_computed() {
    let folder = tempfile::tempdir().unwrap();
    let (base, _) = serve(good).await;
    let mut plan = old_vectors(&folder, &base).await;
    lose_some(folder.path());
    plan.embedder = Some(client(&base, "other"));
    let harness = plan.start().ready().await;
    assert!(vectors(&harness, "ada").await < MESSAGES);
    assert!(!harness.verify().await.ok);
    let mut seen = Vec::new();
    let done = harness
        .service
        .reembed(|state| seen.push(state))
        .await
        .unwrap();
    assert_eq!((done.done, done.failed), (MESSAGES as u64, 0));
    assert_eq!(seen.last(), Some(&done));
    assert_monotone(&seen, MESSAGES as u64);
    assert_eq!(of_model(&harness, "other:").await, MESSAGES);
    assert_eq!(
        harness.service.reembed(|_| ()).await.unwrap(),
        ReembedProgress::default(),
        "nothing is left to do"
    );
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_server_that_dies_midway_leaves_what_is_done_and_a_second_run_does_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (base, _) = serve(good).await;
    let mut plan = old_vectors(&folder, &base).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (dying, _) = serve(move |inputs| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => good(inputs),
        2 => status(503),
        _ => good(inputs), // it is up again
    })
    .await;
    plan.embedder = Some(client(&dying, "other"));
    let harness = plan.start().ready().await;
    let mut seen = Vec::new();
    let broken = harness
        .service
        .reembed(|state| seen.push(state))
        .await
        .unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::Unavailable);
    assert!(broken.to_string().contains("run it again"), "{broken}");
    assert_monotone(&seen, MESSAGES as u64);
    let done = of_model(&harness, "other:").await;
    assert_eq!(done, 128, "two pages of 64 stay done");
    assert_eq!(
        vectors(&harness, "ada").await,
        MESSAGES,
        "the old vectors stay until there are new ones"
    );
    let mut seen = Vec::new();
    let rest = harness
        .service
        .reembed(|state| seen.push(state))
        .await
        .unwrap();
    assert_eq!((rest.done, rest.total), (72, 72));
    assert_eq!(of_model(&harness, "other:").await, MESSAGES);
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn what_had_failed_is_tried_again_by_reembed() {
    let broken = Arc::new(AtomicUsize::new(1));
    let state = Arc::clone(&broken);
    let (base, _) = serve(move |inputs| match state.load(Ordering::SeqCst) {
        1 => status(400),
        _ => good(inputs),
    })
    .await;
    let harness = impatient(Plan::memory(), &base).start().ready().await;
    harness.say("ada", "hello").await;
    crate::embedding_worker::harness::given_up(&harness, "ada", 0).await;
    broken.store(0, Ordering::SeqCst);
    let done = harness.service.reembed(|_| ()).await.unwrap();
    assert_eq!((done.done, done.failed), (1, 0));
    assert_eq!(vectors(&harness, "ada").await, 1);
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
}

/// Every third vector is lost.
fn lose_some(folder: &Path) {
    let file = rusqlite::Connection::open(folder.join("guestbook.db")).unwrap();
    file.execute(
        "DELETE FROM cache_embeddings WHERE length(embedding) = 3 AND rowid % 3 = 0",
        [],
    )
    .unwrap();
}
