//! A list store that never answers holds up no one for longer than its budget.

use guestbook::core::ListState;
use guestbook_testkit::service_harness::words::{PATIENCE, guest};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use std::time::{Duration, Instant};
use tokio::time::timeout;

const BUDGET: Duration = Duration::from_millis(20);
const EVERYTHING: &[&str] = &[
    "apply",
    "replace",
    "remove",
    "heads",
    "range",
    "health",
    "incarnation",
    "flush",
    "sweep",
    "guests",
];

async fn hung() -> ServiceHarness {
    let mut plan = Plan::memory();
    plan.settings.list_budget = BUDGET;
    let harness = plan.start().ready().await;
    harness.say("ada", "before").await;
    harness.service.mark_synced().await.unwrap();
    harness.lists.hold(EVERYTHING);
    harness
}

#[tokio::test]
async fn the_answer_comes_and_later_messages_do_not_even_try() {
    let harness = hung().await;
    let first = timeout(PATIENCE, harness.say("ada", "one"))
        .await
        .expect("an answer");
    assert_eq!(first.receipt.list, ListState::Pending);
    let tried = harness.lists.count("apply");
    let began = Instant::now();
    for text in ["two", "three", "four"] {
        let later = timeout(PATIENCE, harness.say("ada", text))
            .await
            .expect("an answer");
        assert_eq!(later.receipt.list, ListState::Pending);
    }
    assert_eq!(
        harness.lists.count("apply"),
        tried,
        "a suspended store is left alone"
    );
    assert!(began.elapsed() < PATIENCE);
    harness.lists.release();
    harness.mended().await;
    assert_eq!(
        harness.listed("ada").await.unwrap(),
        ["before", "one", "two", "three", "four"]
    );
    assert_eq!(
        harness.say("ada", "five").await.receipt.list,
        ListState::Stored
    );
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_deletion_is_answered_and_the_list_goes_later() {
    let harness = hung().await;
    let deleting = harness.service.delete(guest("ada"));
    let deleted = timeout(PATIENCE, deleting)
        .await
        .expect("an answer")
        .unwrap();
    assert_eq!(deleted.deleted_from.len(), 1);
    harness.lists.release();
    harness.mended().await;
    assert_eq!(harness.listed("ada").await, None);
    harness.stop().await;
}

#[tokio::test]
async fn a_session_is_answered_from_the_tables() {
    let harness = hung().await;
    let asking = harness.session("ada");
    let session = timeout(Duration::from_secs(10), asking)
        .await
        .expect("an answer");
    assert_eq!(session.unwrap().0, ["before"]);
    harness.stop().await;
}
