//! The bound of the queue, and everyone's place in it.

use guestbook::core::ListState;
use guestbook::core::error::ErrorKind;
use guestbook::storage::database::ChatKey;
use guestbook::storage::database::{PageRange, PageStart};
use guestbook_testkit::service_harness::words::{guest, saved, says, until, user};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use std::time::{Duration, Instant};

const ADMISSION: Duration = Duration::from_millis(30);

/// A service whose committer is stuck with one message, with two places in the queue, both taken.
async fn full() -> ServiceHarness {
    let mut plan = Plan::memory();
    (plan.settings.queue, plan.settings.admission) = (2, ADMISSION);
    let harness = plan.start().ready().await;
    harness.tables.hold(&["record"]);
    for text in ["in the making", "first in line", "second in line"] {
        drop(
            harness
                .service
                .enqueue(vec![vec![says("ada", text)]])
                .await
                .unwrap(),
        );
        until("the committer is busy", || async {
            harness.tables.count("record") == 1
        })
        .await;
    }
    harness
}

#[tokio::test]
async fn a_full_queue_turns_requests_away_after_the_admission_time_and_stores_nothing_of_them() {
    let harness = full().await;
    let began = Instant::now();
    let cause = harness
        .service
        .store(vec![vec![says("ada", "one too many")]])
        .await
        .unwrap_err();
    assert_eq!(cause.kind(), ErrorKind::Busy);
    assert!(
        began.elapsed() >= ADMISSION,
        "it waited for its chance first"
    );
    let cause = harness.service.delete(guest("ada")).await.unwrap_err();
    assert_eq!(cause.kind(), ErrorKind::Busy);
    harness.tables.release();
    until("the queue is worked off", || async {
        harness.messages("ada").await.len() == 3
    })
    .await;
    harness.say("ada", "welcome again").await;
    let expected = [
        "in the making",
        "first in line",
        "second in line",
        "welcome again",
    ];
    assert_eq!(harness.texts("ada").await, expected);
    harness.stop().await;
}

#[tokio::test]
async fn a_client_that_went_away_changes_nothing() {
    let harness = full().await; // all three answers have been dropped
    harness.tables.release();
    until("all are stored", || async {
        harness.messages("ada").await.len() == 3
    })
    .await;
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn an_erasure_keeps_its_place_among_the_messages() {
    let harness = Plan::memory().start().ready().await;
    harness.tables.hold(&["record"]);
    let service = &harness.service;
    let stuck = service
        .enqueue(vec![vec![says("bob", "in the way")]])
        .await
        .unwrap();
    until("the committer is busy", || async {
        harness.tables.count("record") == 1
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
    harness.tables.release();
    for waiting in [stuck, before, after] {
        saved(&waiting.answer().await.unwrap()[0]);
    }
    assert_eq!(erasing.await.unwrap().erased.messages, 1);
    assert_eq!(harness.texts("ada").await, ["after"]);
    assert_eq!(harness.listed("ada").await.unwrap(), ["after"]);
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_migration_keeps_its_place_among_the_messages() {
    let harness = Plan::memory().start().ready().await;
    harness.tables.hold(&["record"]);
    let service = &harness.service;
    let before = service
        .enqueue(vec![vec![says("ada", "before")]])
        .await
        .unwrap();
    until("the committer is busy", || async {
        harness.tables.count("record") == 1
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
    harness.tables.release();
    let before = saved(&before.answer().await.unwrap()[0])[0]
        .recorded
        .clone();
    let after = saved(&after.answer().await.unwrap()[0])[0].recorded.clone();
    assert_eq!(migrating.await.unwrap().messages, 1);
    assert_ne!(before.conversation, after.conversation);
    assert_eq!(after.sequence, 0);
    assert_eq!(harness.texts("ada").await, ["after"]);
    assert_eq!(harness.listed("ada").await.unwrap(), ["after"]);
    let page = PageRange {
        limit: 10,
        from: PageStart::At(0),
    };
    let moved = service
        .history(&ChatKey::Conversation(before.conversation), page)
        .await
        .unwrap();
    assert_eq!(moved.unwrap().conversation().owner, user("member"));
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_change_whose_client_went_away_before_its_turn_is_not_carried_out() {
    let harness = Plan::memory().start().ready().await;
    harness.tables.hold(&["record"]);
    let service = &harness.service;
    let stuck = service.enqueue(vec![vec![says("ada", "stays")]]).await;
    until("the committer is busy", || async {
        harness.tables.count("record") == 1
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
    harness.tables.release();
    saved(&stuck.unwrap().answer().await.unwrap()[0]);
    until("the migration is noted as failed", || async {
        harness.tables.count("migration_failed") == 1
    })
    .await;
    let begun = ["erase", "migrate"].map(|change| harness.tables.count(change));
    assert_eq!(begun, [0, 0]);
    assert_eq!(harness.texts("ada").await, ["stays"]);
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn behind_several_writers_a_guest_waits_for_its_last_batch_and_others_do_not() {
    let mut plan = Plan::memory();
    plan.writers = Some(4);
    let harness = plan.start().ready().await;
    harness.lists.hold(&["apply"]);
    let mut waiting = Vec::new();
    for (applied, message) in [
        (1, says("ada", "one")),
        (1, says("ada", "two")),
        (2, says("bob", "hello")),
    ] {
        let queued = harness.service.enqueue(vec![vec![message]]).await;
        waiting.push(queued.unwrap());
        until("what may be is committed", || async {
            harness.lists.count("apply") == applied
        })
        .await;
    }
    assert_eq!(harness.texts("bob").await, ["hello"]);
    assert_eq!(
        harness.texts("ada").await,
        ["one"],
        "her list is not told of it yet"
    );
    harness.lists.release();
    for waiting in waiting {
        let answers = waiting.answer().await.unwrap();
        assert_eq!(saved(&answers[0])[0].receipt.list, ListState::Stored);
    }
    assert_eq!(harness.listed("ada").await.unwrap(), ["one", "two"]);
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn what_was_accepted_before_the_stop_is_stored_and_what_comes_later_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let harness = plan.start().ready().await;
    let mut waiting = Vec::new();
    for i in 0..100 {
        let message = says("ada", &format!("{i}"));
        waiting.push(harness.service.enqueue(vec![vec![message]]).await.unwrap());
    }
    harness.service.stop().await.unwrap();
    for waiting in waiting {
        saved(&waiting.answer().await.unwrap()[0]);
    }
    let late = harness
        .service
        .store(vec![vec![says("ada", "late")]])
        .await
        .unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Unavailable);
    drop(harness);
    let harness = plan.start().ready().await;
    assert_eq!(harness.messages("ada").await.len(), 100);
    harness.assert_well().await;
    harness.stop().await;
}
