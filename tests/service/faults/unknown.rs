//! An answer that was lost on its way: the effect is there, the caller was told that it failed.

use guestbook::core::error::ErrorKind;
use guestbook::service::Answer;
use guestbook_testkit::service_harness::control::When;
use guestbook_testkit::service_harness::words::{alone, guest, says, user};
use guestbook_testkit::service_harness::{Plan, Stage};

async fn losing(plan: Plan, methods: &'static [&'static str]) -> Stage {
    let stage = plan.start().ready().await;
    stage
        .tables
        .fail_methods(methods, ErrorKind::Unavailable, When::After);
    stage
}

async fn a_retry_is_a_replay(plan: Plan) {
    let stage = losing(plan, &["record"]).await;
    let message = says("ada", "hello");
    assert!(matches!(
        stage.ask(message.clone()).await,
        Answer::Failed(_)
    ));
    stage.tables.lift();
    let again = stage.store(alone(message)).await;
    assert!(again[0].recorded.replayed.is_some(), "{again:?}");
    assert_eq!(again[0].recorded.sequence, 0);
    assert_eq!(stage.texts("ada").await, ["hello"]);
    stage.mended().await;
    stage.assert_well().await;
    stage.stop().await;
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
    let stage = losing(Plan::memory(), &["record"]).await;
    assert!(matches!(
        stage.ask(says("ada", "hello")).await,
        Answer::Failed(_)
    ));
    stage.tables.lift();
    stage.mended().await;
    assert_eq!(stage.listed("ada").await.unwrap(), ["hello"]);
    stage.stop().await;
}

#[tokio::test]
async fn the_list_of_an_unknown_erasure_goes_by_itself() {
    let stage = Plan::memory().start().ready().await;
    stage.say("ada", "hello").await;
    stage
        .tables
        .fail_methods(&["erase"], ErrorKind::Unavailable, When::After);
    assert!(stage.service.delete(guest("ada")).await.is_err());
    stage.tables.lift();
    stage.mended().await;
    assert_eq!(stage.listed("ada").await, None);
    stage.stop().await;
}

#[tokio::test]
async fn the_list_of_an_unknown_migration_goes_by_itself() {
    let stage = Plan::memory().start().ready().await;
    stage.say("ada", "hello").await;
    stage
        .tables
        .fail_methods(&["migrate"], ErrorKind::Unavailable, When::After);
    assert!(
        stage
            .service
            .migrate(guest("ada"), user("member"))
            .await
            .is_err()
    );
    stage.tables.lift();
    stage.mended().await;
    assert_eq!(stage.listed("ada").await, None);
    let again = stage
        .service
        .migrate(guest("ada"), user("member"))
        .await
        .unwrap();
    assert_eq!((again.conversations, again.messages), (0, 0));
    stage.stop().await;
}
