//! A list write is noted in the tables only once it is durable.

use guestbook::core::error::ErrorKind;
use guestbook::storage::database::AuditScope;
use guestbook_testkit::service_harness::control::When;
use guestbook_testkit::service_harness::words::{guest, noon, says, until};
use guestbook_testkit::service_harness::{Plan, Stage};

/// How many messages the tables hold for synced.
async fn synced(stage: &Stage) -> usize {
    let page = stage
        .database
        .audit
        .dossiers(AuditScope::AllAfter(None), 1000)
        .await
        .unwrap();
    let messages = page.dossiers.iter().flat_map(|dossier| &dossier.messages);
    messages
        .filter(|message| message.mapping.as_ref().unwrap().is_synced)
        .count()
}

/// Where calls stand in the log since `from`.
fn places(stage: &Stage, from: usize, store: &str, method: &str) -> Vec<usize> {
    let log = stage.log.lock().unwrap();
    let ours = |place: &usize| log[*place] == (store, method);
    (from..log.len()).filter(|place| ours(place)).collect()
}

#[tokio::test]
async fn is_synced_is_noted_after_the_flush_and_never_before() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Plan::folder(&folder).start().ready().await;
    let from = stage.log.lock().unwrap().len();
    stage.say("ada", "one").await;
    assert_eq!(synced(&stage).await, 0, "applied is not durable");
    stage.say("ada", "two").await;
    assert_eq!(
        synced(&stage).await,
        0,
        "a second batch carries no note of what was not flushed"
    );
    stage.service.settle().await.unwrap();
    assert_eq!(synced(&stage).await, 2);
    let flush = places(&stage, from, "lists", "flush");
    let settle = places(&stage, from, "tables", "settle");
    let applies = places(&stage, from, "lists", "apply");
    assert_eq!((flush.len(), settle.len(), applies.len()), (1, 1, 2));
    assert!(applies[1] < flush[0] && flush[0] < settle[0]);
    stage.stop().await;
}

#[tokio::test]
async fn a_note_rides_along_with_the_next_batch() {
    let mut plan = Plan::memory();
    plan.settings.settle_interval = std::time::Duration::from_millis(5);
    let stage = plan.start().ready().await;
    stage.say("ada", "one").await;
    until("it is durable and noted by the interval", || async {
        synced(&stage).await == 1
    })
    .await;
    stage.assert_well().await;
    stage.stop().await;
}

#[tokio::test]
async fn a_failed_flush_notes_nothing_and_is_made_good() {
    let stage = Plan::memory().start().ready().await;
    stage.say("ada", "one").await;
    stage
        .lists
        .fail_methods(&["flush"], ErrorKind::Full, When::Before);
    assert!(stage.service.settle().await.is_err());
    stage.say("ada", "two").await;
    assert_eq!(synced(&stage).await, 0);
    stage.lists.lift();
    stage.mended().await;
    assert_eq!(synced(&stage).await, 2);
    stage.assert_well().await;
    stage.stop().await;
}

#[tokio::test]
async fn a_note_that_could_not_be_written_is_written_later() {
    let stage = Plan::memory().start().ready().await;
    stage.say("ada", "one").await;
    stage
        .tables
        .fail_methods(&["settle"], ErrorKind::Busy, When::Before);
    assert!(stage.service.settle().await.is_err());
    stage.tables.lift();
    stage.service.settle().await.unwrap();
    assert_eq!(synced(&stage).await, 1);
    stage.stop().await;
}

/// A batch that was refused gives back the notes it carried.
#[tokio::test]
async fn a_note_survives_the_failure_of_the_batch_that_carries_it() {
    let stage = Plan::memory().start().ready().await;
    stage.say("ada", "one").await;
    stage
        .tables
        .fail_methods(&["settle", "record"], ErrorKind::Busy, When::Before);
    assert!(stage.service.settle().await.is_err()); // durable, not noted
    stage.ask(says("ada", "refused")).await;
    stage.tables.lift();
    stage.say("ada", "two").await; // carries it
    assert_eq!(synced(&stage).await, 1);
    stage.stop().await;
}

#[tokio::test]
async fn a_stop_notes_everything_so_that_a_start_owes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let stage = plan.start().ready().await;
    for text in ["one", "two"] {
        stage.say("ada", text).await;
    }
    stage.service.delete(guest("bob")).await.unwrap();
    stage.stop().await;
    let (database, lists) = plan.stores();
    assert!(
        database
            .outbox
            .list_debts(None, noon(), 10)
            .await
            .unwrap()
            .is_empty()
    );
    let stage = plan.start_on((database, lists));
    assert_eq!(synced(&stage).await, 2);
    stage.stop().await;
}
