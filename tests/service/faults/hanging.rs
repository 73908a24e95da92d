//! A list store that never answers holds up no one for longer than its budget.

use guestbook::core::ListState;
use guestbook_testkit::service_harness::words::{PATIENCE, guest};
use guestbook_testkit::service_harness::{Plan, Stage};
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

async fn hung() -> Stage {
    let mut plan = Plan::memory();
    plan.settings.list_budget = BUDGET;
    let stage = plan.start().ready().await;
    stage.say("ada", "before").await;
    stage.service.settle().await.unwrap();
    stage.lists.hold(EVERYTHING);
    stage
}

#[tokio::test]
async fn the_answer_comes_and_later_messages_do_not_even_try() {
    let stage = hung().await;
    let first = timeout(PATIENCE, stage.say("ada", "one"))
        .await
        .expect("an answer");
    assert_eq!(first.receipt.list, ListState::Pending);
    let tried = stage.lists.count("apply");
    let began = Instant::now();
    for text in ["two", "three", "four"] {
        let later = timeout(PATIENCE, stage.say("ada", text))
            .await
            .expect("an answer");
        assert_eq!(later.receipt.list, ListState::Pending);
    }
    assert_eq!(
        stage.lists.count("apply"),
        tried,
        "a suspended store is left alone"
    );
    assert!(began.elapsed() < PATIENCE);
    stage.lists.release();
    stage.mended().await;
    assert_eq!(
        stage.listed("ada").await.unwrap(),
        ["before", "one", "two", "three", "four"]
    );
    assert_eq!(
        stage.say("ada", "five").await.receipt.list,
        ListState::Stored
    );
    stage.assert_well().await;
    stage.stop().await;
}

#[tokio::test]
async fn a_deletion_is_answered_and_the_list_goes_later() {
    let stage = hung().await;
    let deleting = stage.service.delete(guest("ada"));
    let deleted = timeout(PATIENCE, deleting)
        .await
        .expect("an answer")
        .unwrap();
    assert_eq!(deleted.deleted_from.len(), 1);
    stage.lists.release();
    stage.mended().await;
    assert_eq!(stage.listed("ada").await, None);
    stage.stop().await;
}

#[tokio::test]
async fn a_session_is_answered_from_the_tables() {
    let stage = hung().await;
    let name = guest("ada");
    let asking = stage.service.session(&name);
    let session = timeout(Duration::from_secs(10), asking)
        .await
        .expect("an answer");
    let items: Vec<_> = session
        .unwrap()
        .unwrap()
        .items
        .iter()
        .map(guestbook_testkit::service_harness::text_of)
        .collect();
    assert_eq!(items, ["before"]);
    stage.stop().await;
}
