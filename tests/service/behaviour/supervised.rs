//! What the service cannot live without may not end unnoticed, however it ends.

use guestbook::core::error::{Error, ErrorKind};
use guestbook_testkit::service_harness::words::{PATIENCE, alone, says, until};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use std::sync::atomic::Ordering;

async fn has_failed(harness: &ServiceHarness, words: &str) -> Error {
    let failed = tokio::time::timeout(PATIENCE, harness.service.fatal()).await;
    let failure = failed.expect("it goes on");
    assert_eq!(failure.kind(), ErrorKind::Internal);
    assert!(failure.to_string().contains(words), "{failure}");
    let refused = harness.service.store(alone(says("ada", "two"))).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    failure
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_ends_without_being_told_to_is_a_failure() {
    let harness = Plan::memory().start().ready().await;
    harness.say("ada", "one").await;
    drop(harness.service.essential("HTTP"));
    has_failed(&harness, "the HTTP task ended").await;
    drop(harness.service.essential("another"));
    has_failed(&harness, "HTTP").await; // the first reason stays
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_panics_or_is_dropped_is_a_failure_too() {
    let harness = Plan::memory().start().ready().await;
    let essential = harness.service.essential("HTTP");
    let panicked = tokio::spawn(async move {
        let _essential = essential;
        panic!("on purpose");
    });
    assert!(panicked.await.is_err());
    has_failed(&harness, "the HTTP task panicked").await;

    let harness = Plan::memory().start().ready().await;
    let essential = harness.service.essential("HTTP");
    let aborted = tokio::spawn(async move {
        let _essential = essential;
        std::future::pending::<()>().await;
    });
    aborted.abort();
    has_failed(&harness, "the HTTP task ended").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_was_asked_for_is_none() {
    let harness = Plan::memory().start().ready().await;
    let (told, kept) = (
        harness.service.essential("HTTP"),
        harness.service.essential("HTTP"),
    );
    told.expectation().store(true, Ordering::Release);
    drop(told);
    assert!(harness.service.failure().is_none());
    let service = harness.service.clone();
    harness.stop().await;
    drop(kept);
    assert!(service.failure().is_none());
}

/// Nobody writes, and nothing asks the store but the watcher.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_by_itself_is_noticed_while_nobody_asks_anything() {
    for store in ["tables", "lists"] {
        let harness = Plan::memory().start().ready().await;
        let reason = Error::new(
            ErrorKind::Unavailable,
            "test",
            "work",
            "its thread panicked",
        );
        match store {
            "tables" => harness.tables.poison(reason),
            _ => harness.lists.poison(reason),
        }
        let noticed = until("it is noticed", || async {
            harness.service.failure().is_some()
        });
        noticed.await;
        let refused = harness.service.store(alone(says("ada", "one"))).await;
        assert!(refused.is_err(), "{store}");
    }
}
