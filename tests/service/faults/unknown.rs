//! An answer that was lost on its way: the effect is there, the caller was told that it failed.

use guestbook::core::error::ErrorKind;
use guestbook::service::GroupOutcome;
use guestbook_testkit::service_harness::control::When;
use guestbook_testkit::service_harness::words::{alone, guest, says, user};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};

async fn losing(plan: Plan, methods: &'static [&'static str]) -> ServiceHarness {
    let harness = plan.start().ready().await;
    harness
        .tables
        .fail_methods(methods, ErrorKind::Unavailable, When::After);
    harness
}

async fn a_retry_is_a_replay(plan: Plan) {
    let harness = losing(plan, &["record"]).await;
    let message = says("ada", "hello");
    assert!(matches!(
        harness.ask(message.clone()).await,
        GroupOutcome::Failed(_)
    ));
    harness.tables.lift();
    let again = harness.store(alone(message)).await;
    assert!(again[0].recorded.replayed.is_some(), "{again:?}");
    assert_eq!(again[0].recorded.sequence, 0);
    assert_eq!(harness.texts("ada").await, ["hello"]);
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_retry_after_an_unknown_commit_is_a_replay_memory() {
    a_retry_is_a_replay(Plan::memory()).await;
}

#[tokio::test]
async fn a_retry_after_an_unknown_commit_is_a_replay_sqlite_sled() {
    let folder = tempfile::tempdir().unwrap();
    a_retry_is_a_replay(Plan::folder(&folder)).await;
}

/// Nobody may ever ask again; the list must not wait for that.
#[tokio::test]
async fn the_list_of_an_unknown_commit_is_mended_by_itself() {
    let harness = losing(Plan::memory(), &["record"]).await;
    assert!(matches!(
        harness.ask(says("ada", "hello")).await,
        GroupOutcome::Failed(_)
    ));
    harness.tables.lift();
    harness.mended().await;
    assert_eq!(harness.listed("ada").await.unwrap(), ["hello"]);
    harness.stop().await;
}

#[tokio::test]
async fn the_list_of_an_unknown_erasure_goes_by_itself() {
    let harness = Plan::memory().start().ready().await;
    harness.say("ada", "hello").await;
    harness
        .tables
        .fail_methods(&["erase"], ErrorKind::Unavailable, When::After);
    assert!(harness.service.delete(guest("ada")).await.is_err());
    harness.tables.lift();
    harness.mended().await;
    assert_eq!(harness.listed("ada").await, None);
    harness.stop().await;
}

#[tokio::test]
async fn the_list_of_an_unknown_migration_goes_by_itself() {
    let harness = Plan::memory().start().ready().await;
    harness.say("ada", "hello").await;
    harness
        .tables
        .fail_methods(&["migrate"], ErrorKind::Unavailable, When::After);
    assert!(
        harness
            .service
            .migrate(guest("ada"), user("member"))
            .await
            .is_err()
    );
    harness.tables.lift();
    harness.mended().await;
    assert_eq!(harness.listed("ada").await, None);
    let again = harness
        .service
        .migrate(guest("ada"), user("member"))
        .await
        .unwrap();
    assert_eq!((again.conversations, again.messages), (0, 0));
    harness.stop().await;
}
