//! What retention has ended cannot be read at once, is gone from every store after a sweep, and is never continued.

use guestbook::service::verify::{VerifyMode, VerifyScope};
use guestbook::storage::database::{AuditScope, ChatKey, PageRange, PageStart};
use guestbook_testkit::service_harness::words::{DAY, HOUR, SECOND, guest, noon};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};

const WEEK: std::time::Duration = std::time::Duration::from_secs(7 * 86_400);

fn a_week(mut plan: Plan) -> Plan {
    plan.retention = Some(WEEK);
    plan
}

async fn assert_unreadable(
    harness: &ServiceHarness,
    name: &str,
    conversation: guestbook::core::ConversationId,
) {
    let page = |from| PageRange { limit: 10, from };
    for from in [PageStart::At(0), PageStart::Below(10)] {
        for chat in [
            ChatKey::Guest(guest(name)),
            ChatKey::Conversation(conversation),
        ] {
            let history = harness.service.history(&chat, page(from)).await.unwrap();
            assert!(history.is_none(), "{chat:?} {from:?}");
        }
    }
    assert_eq!(harness.session(name).await, None);
    let owner = (&guest(name)).into();
    assert!(
        harness
            .service
            .conversations(&owner, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_ended_chat_is_unreadable_at_once_and_gone_from_every_store_after_the_sweep() {
    let folder = tempfile::tempdir().unwrap();
    for plan in [a_week(Plan::memory()), a_week(Plan::folder(&folder))] {
        let harness = plan.start().ready().await;
        let said = harness.say("ada", "one").await.recorded.conversation;
        harness.clock.advance(WEEK - SECOND);
        assert_eq!(
            harness.texts("ada").await,
            ["one"],
            "a second before the end"
        );
        harness.clock.advance(SECOND);
        assert_unreadable(&harness, "ada", said).await;
        harness.assert_well().await;
        harness.service.sweep().await.unwrap();
        harness.mended().await;
        let rest = harness
            .database
            .audit
            .conversation_audits(AuditScope::AllAfter(None), 10)
            .await
            .unwrap();
        assert!(rest.conversation_audits.is_empty(), "{rest:?}");
        assert!(
            harness
                .database
                .audit
                .usage_audits(None, 10)
                .await
                .unwrap()
                .is_empty()
        );
        assert!(harness.cache.guests(None, 10).await.unwrap().is_empty());
        harness.assert_well().await;
        harness.stop().await;
    }
}

/// The list outlives the chat when the retention is shorter than the life of a list.
#[tokio::test]
async fn a_retention_shorter_than_the_lists_life_ends_both() {
    let mut plan = Plan::memory();
    plan.retention = Some(HOUR);
    let harness = plan.start().ready().await;
    let said = harness.say("ada", "one").await.recorded.conversation;
    harness.clock.advance(HOUR);
    assert_unreadable(&harness, "ada", said).await;
    harness.assert_well().await;
    let report = harness
        .service
        .verify(&VerifyScope::Guest(guest("ada")), VerifyMode::Look)
        .await
        .unwrap();
    assert!(report.ok, "{report:#?}");
    harness.service.sweep().await.unwrap();
    harness.mended().await;
    assert!(harness.cache.guests(None, 10).await.unwrap().is_empty());
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_message_after_the_end_begins_a_new_chat() {
    for swept in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let harness = a_week(Plan::folder(&folder)).start().ready().await;
        let old = harness.say("ada", "old").await.recorded;
        harness.clock.advance(WEEK);
        if swept {
            harness.service.sweep().await.unwrap();
        }
        let new = harness.say("ada", "new").await.recorded;
        assert_ne!(old.conversation, new.conversation);
        assert_eq!(new.sequence, 0);
        assert_eq!(harness.texts("ada").await, ["new"]);
        harness.service.sweep().await.unwrap();
        harness.mended().await;
        assert_eq!(harness.listed("ada").await.unwrap(), ["new"]);
        harness.assert_well().await;
        harness.stop().await;
    }
}

#[tokio::test]
async fn a_message_within_the_time_prolongs_it() {
    let harness = a_week(Plan::memory()).start().ready().await;
    harness.say("ada", "one").await;
    harness.clock.advance(6 * DAY);
    harness.say("ada", "two").await;
    harness.clock.advance(6 * DAY);
    harness.service.sweep().await.unwrap();
    assert_eq!(harness.texts("ada").await, ["one", "two"]);
    harness.stop().await;
}

#[tokio::test]
async fn switching_retention_on_and_off_covers_the_chats_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = Plan::folder(&folder);
    let harness = plan.start().ready().await;
    harness.say("old", "a month ago").await;
    plan.clock.advance(30 * DAY);
    harness.say("new", "just now").await;
    harness.stop().await;

    plan.retention = Some(WEEK);
    let harness = plan.start().ready().await;
    assert!(
        harness.texts("old").await.is_empty(),
        "ended the moment it is switched on"
    );
    assert_eq!(harness.texts("new").await, ["just now"]);
    harness.clock.advance(WEEK - SECOND);
    assert_eq!(harness.texts("new").await, ["just now"]);
    harness.stop().await;

    plan.retention = None; // switched off before any sweep: nothing has been removed
    let harness = plan.start().ready().await;
    assert_eq!(harness.texts("old").await, ["a month ago"]);
    harness.stop().await;

    plan.retention = Some(WEEK);
    plan.clock.set(noon().plus(31 * DAY));
    let harness = plan.start().ready().await;
    harness.service.sweep().await.unwrap();
    harness.mended().await;
    assert_eq!(harness.texts("new").await, ["just now"]);
    harness.clock.advance(WEEK);
    harness.service.sweep().await.unwrap();
    harness.mended().await;
    let rest = harness
        .database
        .audit
        .conversation_audits(AuditScope::AllAfter(None), 10)
        .await
        .unwrap();
    assert!(rest.conversation_audits.is_empty(), "{rest:?}");
    harness.assert_well().await;
    harness.stop().await;
}
