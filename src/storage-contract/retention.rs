//! Laws of retention. The fixture keeps a chat for a week after its last message.

use crate::Fixture;
pub use crate::search::what_retention_has_ended_is_not_found;
use crate::words::*;
use guestbook_core::RowState;
use guestbook_storage::database::{ChatKey, Erased, Migrated, OutboxEntry, PageRange, PageStart};
use std::time::Duration;

const INSTANT: Duration = Duration::from_millis(1);

pub async fn each_message_prolongs_the_chat(f: &Fixture) {
    f.say(noon(), "g1", "one").await;
    let row = f.conversation("g1", noon()).await;
    assert_eq!(row.expires_at, Some(noon().plus(KEPT)));
    let later = noon().plus(KEPT - INSTANT);
    let second = f.say(later, "g1", "two").await;
    assert_eq!(second.sequence, 1);
    let row = f.conversation("g1", noon().plus(KEPT)).await;
    assert_eq!(row.expires_at, Some(later.plus(KEPT)));
}

pub async fn retention_hides_at_once_and_expire_removes(f: &Fixture) {
    let said = f.chatter(noon(), "g1", 2).await;
    let end = at(1).plus(KEPT);
    assert!(f.history("g1", at(1).plus(KEPT - INSTANT)).await.is_some());
    assert_eq!(f.history("g1", end).await, None);
    let key = ChatKey::Conversation(said[0].conversation);
    let page = PageRange {
        limit: 1,
        from: PageStart::At(0),
    };
    assert_eq!(
        f.database.chats.history(&key, page, end).await.unwrap(),
        None
    );
    let erased = f.database.chats.expire(end, ALL).await.unwrap();
    let expected = Erased {
        conversations: 1,
        messages: 2,
        embeddings: 0,
        usage: 1,
        mappings: 2,
        prompts: 0,
    };
    assert_eq!(erased, expected);
    assert_eq!(f.usage("g1").await.row, None);
    assert_eq!(
        f.outbox_entries(end).await,
        [OutboxEntry::Gone(guest("g1"))]
    );
    assert_eq!(f.database.audit.metrics_audit().await.unwrap().entries, 0);
    let again = f.database.chats.expire(end, ALL).await.unwrap();
    assert_eq!(again, Erased::default());
}

pub async fn expire_spares_what_is_still_kept(f: &Fixture) {
    f.say(at(0), "g1", "old").await;
    f.say(at(60), "g2", "young").await;
    let end = at(59).plus(KEPT);
    assert_eq!(
        f.database
            .chats
            .expire(end, ALL)
            .await
            .unwrap()
            .conversations,
        1
    );
    assert_eq!(f.history("g1", at(0)).await, None);
    assert!(f.history("g2", end).await.is_some());
}

pub async fn expire_takes_at_most_what_it_is_asked_for(f: &Fixture) {
    for name in ["g1", "g2", "g3"] {
        f.chatter(noon(), name, 2).await;
    }
    let end = at(1).plus(KEPT);
    let mut removed = Vec::new();
    for _ in 0..3 {
        removed.push(f.database.chats.expire(end, 2).await.unwrap().messages);
    }
    assert_eq!(removed, [4, 2, 0]);
}

pub async fn a_message_after_the_end_begins_a_new_chat(f: &Fixture) {
    let before = f.chatter(noon(), "g1", 3).await;
    let end = at(2).plus(KEPT);
    let after = f.say(end, "g1", "a new life").await;
    assert_ne!(after.conversation, before[0].conversation);
    assert_eq!(after.sequence, 0);
    assert_eq!(after.conversation_row, RowState::Created);
    assert_eq!(after.usage_row, RowState::Created);
    assert_eq!(f.messages("g1", end).await.len(), 1);
    assert_eq!(f.usage_row("g1").await.total_requests, 1);
    let metrics = f.database.audit.metrics_audit().await.unwrap();
    assert_eq!((metrics.entries, metrics.messages), (1, 1));
    // The old list is still owed its removal; the list's origin tells it from the new one.
    assert_eq!(
        f.outbox_entries(end).await[0],
        OutboxEntry::Gone(guest("g1"))
    );
}

pub async fn an_id_from_before_the_end_is_a_new_message(f: &Fixture) {
    let before = f.keep(noon(), plain(repeatable(1, "g1", "hello"))).await;
    let end = noon().plus(KEPT);
    let after = f.keep(end, plain(repeatable(1, "g1", "hello"))).await;
    assert_eq!(after.replayed, None);
    assert_ne!(after.conversation, before.conversation);
    assert_eq!(f.messages("g1", end).await.len(), 1);
    // It went with its message, so it may also stand for something else.
    let later = end.plus(KEPT);
    let other = f.keep(later, plain(repeatable(1, "g1", "other"))).await;
    assert_eq!((other.sequence, other.replayed), (0, None));
}

pub async fn a_migrated_chat_is_kept_for_ever(f: &Fixture) {
    f.say(noon(), "g1", "hello").await;
    f.migrate(at(1), "g1", "u1").await;
    let much_later = noon().plus(KEPT * 100);
    let expired = f.database.chats.expire(much_later, ALL).await.unwrap();
    assert_eq!(expired, Erased::default());
    assert_eq!(only(f.owned("u1", None, 10).await).expires_at, None);
}

pub async fn what_retention_has_ended_cannot_be_migrated(f: &Fixture) {
    f.say(noon(), "g1", "hello").await;
    let migrated = f.migrate(noon().plus(KEPT), "g1", "u1").await;
    assert_eq!(migrated, Migrated::default());
    assert!(f.owned("u1", None, 10).await.is_empty());
    assert_eq!(f.usage("u1").await.row, None);
}
