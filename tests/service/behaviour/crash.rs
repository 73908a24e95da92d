//! A process that dies, at the worst moment: a service on a runtime of its own, which is torn down without a stop.

use guestbook::core::error::ErrorKind;
use guestbook_testkit::service_harness::control::When;
use guestbook_testkit::service_harness::words::{PATIENCE, alone, guest, says, until};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use std::future::Future;
use tokio::runtime::Builder;

/// One life of a process: whatever `life` leaves undone stays undone, and no store is closed.
fn live_and_die<F: Future<Output = ServiceHarness>>(life: impl FnOnce() -> F) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let harness = runtime.block_on(life());
    drop(runtime);
    drop(harness);
}

fn then<F: Future<Output = ()>>(life: impl FnOnce() -> F) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(life());
}

#[test]
fn a_crash_between_commit_and_list_is_mended_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    live_and_die(|| async {
        let harness = plan.start().ready().await;
        harness.say("ada", "one").await;
        harness.service.mark_synced().await.unwrap();
        harness.lists.hold(&["apply"]);
        for (name, text) in [("ada", "two"), ("bob", "hello")] {
            drop(
                harness
                    .service
                    .enqueue(vec![vec![says(name, text)]])
                    .await
                    .unwrap(),
            );
        }
        until("both are committed", || async {
            harness.messages("ada").await.len() + harness.messages("bob").await.len() == 3
        })
        .await;
        harness
    });
    then(|| async {
        let harness = plan.start();
        harness.mended().await;
        assert_eq!(harness.listed("ada").await.unwrap(), ["one", "two"]);
        assert_eq!(harness.listed("bob").await.unwrap(), ["hello"]);
        harness.assert_well().await;
        harness.stop().await;
    });
}

#[test]
fn a_crash_between_the_list_and_its_note_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    live_and_die(|| async {
        let harness = plan.start().ready().await;
        for text in ["one", "two", "three"] {
            harness.say("ada", text).await;
        }
        harness
    });
    then(|| async {
        let harness = plan.start();
        harness.mended().await;
        assert_eq!(
            harness.listed("ada").await.unwrap(),
            ["one", "two", "three"]
        );
        assert_eq!(harness.session("ada").await.unwrap().0.len(), 3);
        harness.assert_well().await;
        harness.stop().await;
    });
}

#[test]
fn a_crash_between_an_erasure_and_its_list_is_mended_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    live_and_die(|| async {
        let harness = plan.start().ready().await;
        harness.say("ada", "one").await;
        harness
            .lists
            .fail_methods(&["remove"], ErrorKind::Unavailable, When::Before);
        harness.service.delete(guest("ada")).await.unwrap();
        assert!(harness.listed("ada").await.is_some());
        harness
    });
    then(|| async {
        let harness = plan.start();
        harness.mended().await;
        assert_eq!(harness.listed("ada").await, None);
        harness.assert_well().await;
        harness.stop().await;
    });
}

#[test]
fn a_key_that_was_used_before_the_crash_is_a_replay_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let message = says("ada", "once");
    let again = message.clone();
    live_and_die(|| async {
        let harness = plan.start().ready().await;
        harness.ask(message).await;
        harness
    });
    then(|| async {
        let harness = plan.start().ready().await;
        let saved = harness.store(vec![vec![again]]).await;
        assert!(saved[0].recorded.replayed.is_some());
        assert_eq!(harness.texts("ada").await, ["once"]);
        harness.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_while_storing_ends_the_service_and_leaves_nobody_waiting() {
    for method in ["record", "apply"] {
        let harness = Plan::memory().start().ready().await;
        match method {
            "apply" => (harness.lists).fail_methods(&["apply"], ErrorKind::Internal, When::Never),
            _ => (harness.tables).fail_methods(&["record"], ErrorKind::Internal, When::Never),
        }
        let in_time = async {
            let refused = harness
                .service
                .store(alone(says("ada", "one")))
                .await
                .unwrap_err();
            assert_eq!(
                refused.kind(),
                ErrorKind::Unavailable,
                "{method}: {refused}"
            );
            let fatal = harness.service.fatal().await;
            assert_eq!(fatal.kind(), ErrorKind::Internal, "{method}: {fatal}");
            let later = harness.service.store(alone(says("ada", "two"))).await;
            assert_eq!(
                later.unwrap_err().kind(),
                ErrorKind::Unavailable,
                "{method}"
            );
        };
        let ended = tokio::time::timeout(PATIENCE, in_time).await;
        ended.unwrap_or_else(|_| panic!("{method}: somebody waits for ever"));
    }
}
