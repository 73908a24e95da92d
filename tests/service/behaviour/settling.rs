//! A list write is noted in the tables only once it is durable.

use guestbook::core::error::ErrorKind;
use guestbook::storage::database::AuditScope;
use guestbook_testkit::service_harness::control::When;
use guestbook_testkit::service_harness::words::{guest, noon, says, until};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};

/// How many messages the tables hold for synced.
async fn synced(harness: &ServiceHarness) -> usize {
    let page = harness
        .database
        .audit
        .conversation_audits(AuditScope::AllAfter(None), 1000)
        .await
        .unwrap();
    let messages = page
        .conversation_audits
        .iter()
        .flat_map(|conversation_audit| &conversation_audit.messages);
    messages
        .filter(|message| message.mapping.as_ref().unwrap().is_synced)
        .count()
}

/// Where calls stand in the log since `from`.
fn places(harness: &ServiceHarness, from: usize, store: &str, method: &str) -> Vec<usize> {
    let log = harness.log.lock().unwrap();
    let ours = |place: &usize| log[*place] == (store, method);
    (from..log.len()).filter(|place| ours(place)).collect()
}

#[tokio::test]
async fn is_synced_is_noted_after_the_flush_and_never_before() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Plan::folder(&folder).start().ready().await;
    let from = harness.log.lock().unwrap().len();
    harness.say("ada", "one").await;
    assert_eq!(synced(&harness).await, 0, "applied is not durable");
    harness.say("ada", "two").await;
    assert_eq!(
        synced(&harness).await,
        0,
        "a second batch carries no note of what was not flushed"
    );
    harness.service.mark_synced().await.unwrap();
    assert_eq!(synced(&harness).await, 2);
    let flush = places(&harness, from, "lists", "flush");
    let mark_synced = places(&harness, from, "tables", "mark_synced");
    let applies = places(&harness, from, "lists", "apply");
    assert_eq!((flush.len(), mark_synced.len(), applies.len()), (1, 1, 2));
    assert!(applies[1] < flush[0] && flush[0] < mark_synced[0]);
    harness.stop().await;
}

#[tokio::test]
async fn a_note_rides_along_with_the_next_batch() {
    let mut plan = Plan::memory();
    plan.settings.sync_mark_interval = std::time::Duration::from_millis(5);
    let harness = plan.start().ready().await;
    harness.say("ada", "one").await;
    until("it is durable and noted by the interval", || async {
        synced(&harness).await == 1
    })
    .await;
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_failed_flush_notes_nothing_and_is_made_good() {
    let harness = Plan::memory().start().ready().await;
    harness.say("ada", "one").await;
    harness
        .lists
        .fail_methods(&["flush"], ErrorKind::Full, When::Before);
    assert!(harness.service.mark_synced().await.is_err());
    harness.say("ada", "two").await;
    assert_eq!(synced(&harness).await, 0);
    harness.lists.lift();
    harness.mended().await;
    assert_eq!(synced(&harness).await, 2);
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_note_that_could_not_be_written_is_written_later() {
    let harness = Plan::memory().start().ready().await;
    harness.say("ada", "one").await;
    harness
        .tables
        .fail_methods(&["mark_synced"], ErrorKind::Busy, When::Before);
    assert!(harness.service.mark_synced().await.is_err());
    harness.tables.lift();
    harness.service.mark_synced().await.unwrap();
    assert_eq!(synced(&harness).await, 1);
    harness.stop().await;
}

/// A batch that was refused gives back the notes it carried.
#[tokio::test]
async fn a_note_survives_the_failure_of_the_batch_that_carries_it() {
    let harness = Plan::memory().start().ready().await;
    harness.say("ada", "one").await;
    harness
        .tables
        .fail_methods(&["mark_synced", "record"], ErrorKind::Busy, When::Before);
    assert!(harness.service.mark_synced().await.is_err()); // durable, not noted
    harness.ask(says("ada", "refused")).await;
    harness.tables.lift();
    harness.say("ada", "two").await; // carries it
    assert_eq!(synced(&harness).await, 1);
    harness.stop().await;
}

#[tokio::test]
async fn a_stop_notes_everything_so_that_a_start_owes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let harness = plan.start().ready().await;
    for text in ["one", "two"] {
        harness.say("ada", text).await;
    }
    harness.service.delete(guest("bob")).await.unwrap();
    harness.stop().await;
    let (database, lists) = plan.stores();
    assert!(
        database
            .outbox
            .outbox_entries(None, noon(), 10)
            .await
            .unwrap()
            .is_empty()
    );
    let harness = plan.start_on((database, lists));
    assert_eq!(synced(&harness).await, 2);
    harness.stop().await;
}

#[tokio::test]
async fn a_verification_looks_only_after_what_was_queued_before_is_in_the_lists() {
    let harness = Plan::memory().start().ready().await;
    harness.tables.hold(&["record"]);
    let from = harness.log.lock().unwrap().len();
    let queued = harness
        .service
        .enqueue(vec![vec![says("ada", "one")]])
        .await;
    let verifying = async {
        harness.assert_well().await;
    };
    let releasing = async {
        for _ in 0..100 {
            tokio::task::yield_now().await; // as far as the verification gets
        }
        harness.tables.release();
    };
    tokio::join!(verifying, releasing);
    let looked = places(&harness, from, "tables", "conversation_audits");
    let applied = places(&harness, from, "lists", "apply");
    assert!(applied[0] < looked[0], "{applied:?}, {looked:?}");
    drop(queued);
    harness.stop().await;
}
