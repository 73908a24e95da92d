//! The bound of the queue, and everyone's place in it.

use guestbook::core::ListState;
use guestbook::core::error::ErrorKind;
use guestbook::storage::database::ChatKey;
use guestbook::storage::database::{Page, PageStart};
use guestbook_testkit::service_harness::words::{guest, saved, says, until, user};
use guestbook_testkit::service_harness::{Plan, Stage};
use std::time::{Duration, Instant};

const ADMISSION: Duration = Duration::from_millis(30);

/// A service whose committer is stuck with one message, with two places in the queue, both taken.
async fn full() -> Stage {
    let mut plan = Plan::memory();
    (plan.settings.queue, plan.settings.admission) = (2, ADMISSION);
    let stage = plan.start().ready().await;
    stage.tables.hold(&["record"]);
    for text in ["in the making", "first in line", "second in line"] {
        drop(
            stage
                .service
                .enqueue(vec![vec![says("ada", text)]])
                .await
                .unwrap(),
        );
        until("the committer is busy", || async {
            stage.tables.count("record") == 1
        })
        .await;
    }
    stage
}

#[tokio::test]
async fn a_full_queue_turns_requests_away_after_the_admission_time_and_stores_nothing_of_them() {
    let stage = full().await;
    let began = Instant::now();
    let cause = stage
        .service
        .store(vec![vec![says("ada", "one too many")]])
        .await
        .unwrap_err();
    assert_eq!(cause.kind(), ErrorKind::Busy);
    assert!(
        began.elapsed() >= ADMISSION,
        "it waited for its chance first"
    );
    let cause = stage.service.delete(guest("ada")).await.unwrap_err();
    assert_eq!(cause.kind(), ErrorKind::Busy);
    stage.tables.release();
    until("the queue is worked off", || async {
        stage.messages("ada").await.len() == 3
    })
    .await;
    stage.say("ada", "welcome again").await;
    let expected = [
        "in the making",
        "first in line",
        "second in line",
        "welcome again",
    ];
    assert_eq!(stage.texts("ada").await, expected);
    stage.stop().await;
}

#[tokio::test]
async fn a_client_that_went_away_changes_nothing() {
    let stage = full().await; // all three answers have been dropped
    stage.tables.release();
    until("all are stored", || async {
        stage.messages("ada").await.len() == 3
    })
    .await;
    stage.mended().await;
    stage.assert_well().await;
    stage.stop().await;
}

#[tokio::test]
async fn an_erasure_keeps_its_place_among_the_messages() {
    let stage = Plan::memory().start().ready().await;
    stage.tables.hold(&["record"]);
    let service = &stage.service;
    let stuck = service
        .enqueue(vec![vec![says("bob", "in the way")]])
        .await
        .unwrap();
    until("the committer is busy", || async {
        stage.tables.count("record") == 1
    })
    .await;
    let before = service
        .enqueue(vec![vec![says("ada", "before")]])
        .await
        .unwrap();
    let erasing = tokio::spawn({
        let service = service.clone();
        async move { service.delete(guest("ada")).await.unwrap() }
    });
    tokio::task::yield_now().await; // lets the erasure take its place
    let after = service
        .enqueue(vec![vec![says("ada", "after")]])
        .await
        .unwrap();
    stage.tables.release();
    for waiting in [stuck, before, after] {
        saved(&waiting.answer().await.unwrap()[0]);
    }
    assert_eq!(erasing.await.unwrap().erased.messages, 1);
    assert_eq!(stage.texts("ada").await, ["after"]);
    assert_eq!(stage.listed("ada").await.unwrap(), ["after"]);
    stage.mended().await;
    stage.assert_well().await;
    stage.stop().await;
}

#[tokio::test]
async fn a_migration_keeps_its_place_among_the_messages() {
    let stage = Plan::memory().start().ready().await;
    stage.tables.hold(&["record"]);
    let service = &stage.service;
    let before = service
        .enqueue(vec![vec![says("ada", "before")]])
        .await
        .unwrap();
    until("the committer is busy", || async {
        stage.tables.count("record") == 1
    })
    .await;
    let migrating = tokio::spawn({
        let service = service.clone();
        async move { service.migrate(guest("ada"), user("member")).await.unwrap() }
    });
    tokio::task::yield_now().await; // lets the migration take its place
    let after = service
        .enqueue(vec![vec![says("ada", "after")]])
        .await
        .unwrap();
    stage.tables.release();
    let before = saved(&before.answer().await.unwrap()[0])[0]
        .recorded
        .clone();
    let after = saved(&after.answer().await.unwrap()[0])[0].recorded.clone();
    assert_eq!(migrating.await.unwrap().messages, 1);
    assert_ne!(before.conversation, after.conversation);
    assert_eq!(after.sequence, 0);
    assert_eq!(stage.texts("ada").await, ["after"]);
    assert_eq!(stage.listed("ada").await.unwrap(), ["after"]);
    let page = Page {
        limit: 10,
        from: PageStart::At(0),
    };
    let moved = service
        .history(&ChatKey::Conversation(before.conversation), page)
        .await
        .unwrap();
    assert_eq!(moved.unwrap().conversation().owner, user("member"));
    stage.mended().await;
    stage.assert_well().await;
    stage.stop().await;
}

#[tokio::test]
async fn a_change_whose_client_went_away_before_its_turn_is_not_carried_out() {
    let stage = Plan::memory().start().ready().await;
    stage.tables.hold(&["record"]);
    let service = &stage.service;
    let stuck = service.enqueue(vec![vec![says("ada", "stays")]]).await;
    until("the committer is busy", || async {
        stage.tables.count("record") == 1
    })
    .await;
    let (erasing, migrating) = (service.clone(), service.clone());
    let erasing = tokio::spawn(async move { erasing.delete(guest("ada")).await.is_ok() });
    let migrating = async move {
        migrating
            .migrate(guest("ada"), user("member"))
            .await
            .is_ok()
    };
    for client in [erasing, tokio::spawn(migrating)] {
        tokio::task::yield_now().await; // lets the change take its place
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
    }
    stage.tables.release();
    saved(&stuck.unwrap().answer().await.unwrap()[0]);
    until("the migration is noted as failed", || async {
        stage.tables.count("migration_failed") == 1
    })
    .await;
    let begun = ["erase", "migrate"].map(|change| stage.tables.count(change));
    assert_eq!(begun, [0, 0]);
    assert_eq!(stage.texts("ada").await, ["stays"]);
    stage.assert_well().await;
    stage.stop().await;
}

#[tokio::test]
async fn behind_several_writers_a_guest_waits_for_its_last_batch_and_others_do_not() {
    let mut plan = Plan::memory();
    plan.writers = Some(4);
    let stage = plan.start().ready().await;
    stage.lists.hold(&["apply"]);
    let mut waiting = Vec::new();
    for (applied, message) in [
        (1, says("ada", "one")),
        (1, says("ada", "two")),
        (2, says("bob", "hello")),
    ] {
        let queued = stage.service.enqueue(vec![vec![message]]).await;
        waiting.push(queued.unwrap());
        until("what may be is committed", || async {
            stage.lists.count("apply") == applied
        })
        .await;
    }
    assert_eq!(stage.texts("bob").await, ["hello"]);
    assert_eq!(
        stage.texts("ada").await,
        ["one"],
        "her list is not told of it yet"
    );
    stage.lists.release();
    for waiting in waiting {
        let answers = waiting.answer().await.unwrap();
        assert_eq!(saved(&answers[0])[0].receipt.list, ListState::Stored);
    }
    assert_eq!(stage.listed("ada").await.unwrap(), ["one", "two"]);
    stage.assert_well().await;
    stage.stop().await;
}

#[tokio::test]
async fn what_was_accepted_before_the_stop_is_stored_and_what_comes_later_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let stage = plan.start().ready().await;
    let mut waiting = Vec::new();
    for i in 0..100 {
        let message = says("ada", &format!("{i}"));
        waiting.push(stage.service.enqueue(vec![vec![message]]).await.unwrap());
    }
    stage.service.stop().await.unwrap();
    for waiting in waiting {
        saved(&waiting.answer().await.unwrap()[0]);
    }
    let late = stage
        .service
        .store(vec![vec![says("ada", "late")]])
        .await
        .unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Unavailable);
    drop(stage);
    let stage = plan.start().ready().await;
    assert_eq!(stage.messages("ada").await.len(), 100);
    stage.assert_well().await;
    stage.stop().await;
}
