//! What retention has ended cannot be read at once, is gone from every store after a sweep, and is never continued.

use guestbook::service::verify::{Mode, Scope};
use guestbook::storage::database::{AuditScope, ChatKey, Page, PageStart};
use guestbook_testkit::service_harness::words::{DAY, HOUR, SECOND, guest, noon};
use guestbook_testkit::service_harness::{Plan, Stage};

const WEEK: std::time::Duration = std::time::Duration::from_secs(7 * 86_400);

fn a_week(mut plan: Plan) -> Plan {
    plan.retention = Some(WEEK);
    plan
}

async fn assert_unreadable(
    stage: &Stage,
    name: &str,
    conversation: guestbook::core::ConversationId,
) {
    let page = |from| Page { limit: 10, from };
    for from in [PageStart::At(0), PageStart::Below(10)] {
        for chat in [
            ChatKey::Guest(guest(name)),
            ChatKey::Conversation(conversation),
        ] {
            let history = stage.service.history(&chat, page(from)).await.unwrap();
            assert!(history.is_none(), "{chat:?} {from:?}");
        }
    }
    assert!(stage.service.session(&guest(name)).await.unwrap().is_none());
    let owner = (&guest(name)).into();
    assert!(
        stage
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
        let stage = plan.start().ready().await;
        let said = stage.say("ada", "one").await.recorded.conversation;
        stage.clock.advance(WEEK - SECOND);
        assert_eq!(stage.texts("ada").await, ["one"], "a second before the end");
        stage.clock.advance(SECOND);
        assert_unreadable(&stage, "ada", said).await;
        stage.assert_well().await;
        stage.service.sweep().await.unwrap();
        stage.mended().await;
        let rest = stage
            .database
            .audit
            .dossiers(AuditScope::AllAfter(None), 10)
            .await
            .unwrap();
        assert!(rest.dossiers.is_empty(), "{rest:?}");
        assert!(
            stage
                .database
                .audit
                .usage_audits(None, 10)
                .await
                .unwrap()
                .is_empty()
        );
        assert!(stage.cache.guests(None, 10).await.unwrap().is_empty());
        stage.assert_well().await;
        stage.stop().await;
    }
}

/// The list outlives the chat when the retention is shorter than the life of a list.
#[tokio::test]
async fn a_retention_shorter_than_the_lists_life_ends_both() {
    let mut plan = Plan::memory();
    plan.retention = Some(HOUR);
    let stage = plan.start().ready().await;
    let said = stage.say("ada", "one").await.recorded.conversation;
    stage.clock.advance(HOUR);
    assert_unreadable(&stage, "ada", said).await;
    stage.assert_well().await;
    let report = stage
        .service
        .verify(&Scope::Guest(guest("ada")), Mode::Look)
        .await
        .unwrap();
    assert!(report.ok, "{report:#?}");
    stage.service.sweep().await.unwrap();
    stage.mended().await;
    assert!(stage.cache.guests(None, 10).await.unwrap().is_empty());
    stage.assert_well().await;
    stage.stop().await;
}

#[tokio::test]
async fn a_message_after_the_end_begins_a_new_chat() {
    for swept in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let stage = a_week(Plan::folder(&folder)).start().ready().await;
        let old = stage.say("ada", "old").await.recorded;
        stage.clock.advance(WEEK);
        if swept {
            stage.service.sweep().await.unwrap();
        }
        let new = stage.say("ada", "new").await.recorded;
        assert_ne!(old.conversation, new.conversation);
        assert_eq!(new.sequence, 0);
        assert_eq!(stage.texts("ada").await, ["new"]);
        stage.service.sweep().await.unwrap();
        stage.mended().await;
        assert_eq!(stage.listed("ada").await.unwrap(), ["new"]);
        stage.assert_well().await;
        stage.stop().await;
    }
}

#[tokio::test]
async fn a_message_within_the_time_prolongs_it() {
    let stage = a_week(Plan::memory()).start().ready().await;
    stage.say("ada", "one").await;
    stage.clock.advance(6 * DAY);
    stage.say("ada", "two").await;
    stage.clock.advance(6 * DAY);
    stage.service.sweep().await.unwrap();
    assert_eq!(stage.texts("ada").await, ["one", "two"]);
    stage.stop().await;
}

#[tokio::test]
async fn switching_retention_on_and_off_covers_the_chats_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = Plan::folder(&folder);
    let stage = plan.start().ready().await;
    stage.say("old", "a month ago").await;
    plan.clock.advance(30 * DAY);
    stage.say("new", "just now").await;
    stage.stop().await;

    plan.retention = Some(WEEK);
    let stage = plan.start().ready().await;
    assert!(
        stage.texts("old").await.is_empty(),
        "ended the moment it is switched on"
    );
    assert_eq!(stage.texts("new").await, ["just now"]);
    stage.clock.advance(WEEK - SECOND);
    assert_eq!(stage.texts("new").await, ["just now"]);
    stage.stop().await;

    plan.retention = None; // switched off before any sweep: nothing has been removed
    let stage = plan.start().ready().await;
    assert_eq!(stage.texts("old").await, ["a month ago"]);
    stage.stop().await;

    plan.retention = Some(WEEK);
    plan.clock.set(noon().plus(31 * DAY));
    let stage = plan.start().ready().await;
    stage.service.sweep().await.unwrap();
    stage.mended().await;
    assert_eq!(stage.texts("new").await, ["just now"]);
    stage.clock.advance(WEEK);
    stage.service.sweep().await.unwrap();
    stage.mended().await;
    let rest = stage
        .database
        .audit
        .dossiers(AuditScope::AllAfter(None), 10)
        .await
        .unwrap();
    assert!(rest.dossiers.is_empty(), "{rest:?}");
    stage.assert_well().await;
    stage.stop().await;
}
