//! Messages that wait are committed together, and a bad one among them fails alone.

use guestbook::core::error::ErrorKind;
use guestbook::service::GroupOutcome;
use guestbook_testkit::service_harness::Plan;
use guestbook_testkit::service_harness::words::{guest, saved, says, until};
use std::collections::BTreeSet;

#[tokio::test]
async fn while_one_batch_is_committed_the_next_one_gathers() {
    let harness = Plan::memory().start().ready().await;
    harness.tables.hold(&["record"]);
    let first = harness
        .service
        .enqueue(vec![vec![says("ada", "first")]])
        .await
        .unwrap();
    until("the first batch is being committed", || async {
        harness.tables.count("record") == 1
    })
    .await;
    let mut waiting = Vec::new();
    for i in 0..50 {
        let message = says(
            if i % 2 == 0 { "ada" } else { "bob" },
            &format!("message {i}"),
        );
        waiting.push(harness.service.enqueue(vec![vec![message]]).await.unwrap());
    }
    harness.tables.release();
    saved(&first.answer().await.unwrap()[0]);
    let mut sequences = BTreeSet::new();
    for (i, waiting) in waiting.into_iter().enumerate() {
        let answers = waiting.answer().await.unwrap();
        let recorded = &saved(&answers[0])[0].recorded;
        assert!(sequences.insert((recorded.conversation, recorded.sequence)));
        let earlier = i / 2 + usize::from(i % 2 == 0); // "first" is of ada
        assert_eq!(recorded.sequence, earlier as u64, "of message {i}");
    }
    assert_eq!(*harness.faulty.batches.lock().unwrap(), [1, 50]);
    assert_eq!(
        (
            harness.messages("ada").await.len(),
            harness.messages("bob").await.len()
        ),
        (26, 25)
    );
    assert_eq!(
        harness.lists.count("apply"),
        2,
        "the lists are told once per batch, too"
    );
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_batch_holds_no_more_than_its_limit() {
    let (mut by_count, mut by_bytes) = (Plan::memory(), Plan::memory());
    by_count.settings.batch_messages = 8;
    by_bytes.settings.batch_bytes = 8 * "message".len(); // reached with the eighth at the latest
    for plan in [by_count, by_bytes] {
        holds_its_limit(&plan).await;
    }
}

async fn holds_its_limit(plan: &Plan) {
    let harness = plan.start().ready().await;
    harness.tables.hold(&["record"]);
    let mut waiting = Vec::new();
    for i in 0..20 {
        let message = says("ada", &format!("message {i}"));
        waiting.push(harness.service.enqueue(vec![vec![message]]).await.unwrap());
    }
    harness.tables.release();
    for waiting in waiting {
        saved(&waiting.answer().await.unwrap()[0]);
    }
    let batches = harness.faulty.batches.lock().unwrap().clone();
    assert!(batches.iter().all(|&messages| messages <= 8), "{batches:?}");
    assert_eq!(batches.iter().sum::<usize>(), 20);
    harness.stop().await;
}

#[tokio::test]
async fn a_bad_message_fails_alone_and_its_neighbours_keep_their_order() {
    let harness = Plan::memory().start().ready().await;
    *harness.faulty.refused.lock().unwrap() = Some(guest("bad"));
    let groups: Vec<_> = (0..21)
        .map(|i| {
            vec![says(
                if i == 13 { "bad" } else { "ada" },
                &format!("{i:02}"),
            )]
        })
        .collect();
    let answers = harness.service.store(groups).await.unwrap();
    assert_eq!(answers.len(), 21);
    for (i, answer) in answers.iter().enumerate() {
        match (i, answer) {
            (13, GroupOutcome::Failed(cause)) => assert_eq!(cause.kind(), ErrorKind::Invalid),
            (13, other) => panic!("{other:?}"),
            (_, answer) => {
                let expected = if i < 13 { i } else { i - 1 };
                assert_eq!(saved(answer)[0].recorded.sequence, expected as u64);
            }
        }
    }
    assert!(harness.messages("bad").await.is_empty());
    let mut sorted = harness.texts("ada").await;
    assert_eq!(harness.listed("ada").await.unwrap(), sorted);
    sorted.sort();
    assert_eq!(harness.texts("ada").await, sorted);
    // 1 for the batch, then at most 2 per halving of 21.
    assert!(
        harness.tables.count("record") <= 13,
        "{}",
        harness.tables.count("record")
    );
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_group_with_a_bad_message_fails_whole() {
    let harness = Plan::memory().start().ready().await;
    *harness.faulty.refused.lock().unwrap() = Some(guest("bad"));
    let groups = vec![
        vec![says("ada", "one")],
        vec![says("ada", "not this"), says("bad", "nor this")],
        vec![says("ada", "two")],
    ];
    let answers = harness.service.store(groups).await.unwrap();
    assert!(matches!(answers[1], GroupOutcome::Failed(_)), "{answers:?}");
    assert_eq!(harness.texts("ada").await, ["one", "two"]);
    harness.stop().await;
}

#[tokio::test]
async fn the_same_id_twice_in_one_batch_is_stored_once() {
    let harness = Plan::memory().start().ready().await;
    let message = says("ada", "once");
    let saved = harness
        .store(vec![vec![message.clone()], vec![message]])
        .await;
    assert_eq!(saved[0].recorded.sequence, saved[1].recorded.sequence);
    assert!(saved[0].recorded.replayed.is_none() && saved[1].recorded.replayed.is_some());
    assert_eq!(harness.texts("ada").await, ["once"]);
    assert_eq!(harness.listed("ada").await.unwrap(), ["once"]);
    harness.assert_well().await;
    harness.stop().await;
}
