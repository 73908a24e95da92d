//! Laws of reading.

use crate::Fixture;
use crate::words::*;
use guestbook_core::{ConversationId, Metadata, Platform, Role};
use guestbook_storage::database::{ChatKey, MessageSize, PageRange, PageStart};
use uuid::Uuid;

pub async fn an_unknown_chat_has_no_history(f: &Fixture) {
    assert_eq!(f.history("nobody", noon()).await, None);
    let key = ChatKey::Conversation(ConversationId(Uuid::now_v7()));
    let page = PageRange {
        limit: 10,
        from: PageStart::At(0),
    };
    assert_eq!(
        f.database.chats.history(&key, page, noon()).await.unwrap(),
        None
    );
}

pub async fn pages_go_up_from_a_sequence(f: &Fixture) {
    f.chatter(noon(), "g1", 10).await;
    assert_eq!(f.page("g1", PageStart::At(0), 3).await, [0, 1, 2]);
    assert_eq!(f.page("g1", PageStart::At(3), 3).await, [3, 4, 5]);
    assert_eq!(f.page("g1", PageStart::At(8), 3).await, [8, 9]);
    assert!(f.page("g1", PageStart::At(10), 3).await.is_empty());
    assert!(f.page("g1", PageStart::At(0), 0).await.is_empty());
    assert!(f.page("g1", PageStart::At(u64::MAX), 3).await.is_empty());
}

pub async fn pages_go_down_below_a_sequence_in_ascending_order(f: &Fixture) {
    f.chatter(noon(), "g1", 10).await;
    assert_eq!(f.page("g1", PageStart::Below(10), 3).await, [7, 8, 9]);
    assert_eq!(f.page("g1", PageStart::Below(7), 3).await, [4, 5, 6]);
    assert_eq!(f.page("g1", PageStart::Below(2), 3).await, [0, 1]);
    assert!(f.page("g1", PageStart::Below(0), 3).await.is_empty());
    let newest = f.page("g1", PageStart::Below(u64::MAX), 2).await;
    assert_eq!(newest, [8, 9]);
}

pub async fn a_chat_is_read_by_guest_and_by_conversation(f: &Fixture) {
    f.chatter(noon(), "g1", 3).await;
    let by_guest = f.history("g1", noon()).await.unwrap();
    let key = ChatKey::Conversation(by_guest.conversation.id);
    let page = PageRange {
        limit: ALL,
        from: PageStart::At(0),
    };
    let by_id = f.database.chats.history(&key, page, noon()).await.unwrap();
    assert_eq!(by_id, Some(by_guest.clone()));
    assert_eq!(by_guest.conversation.session, "g1");
    assert_eq!(by_guest.conversation.owner, owner("g1"));
    assert_eq!(by_guest.conversation.platform, Platform::Guest);
}

pub async fn the_sizes_of_a_page_are_those_of_its_messages(f: &Fixture) {
    let mut messages: Vec<_> = ["a", "zwölf", "🙂🙂", "the fourth"]
        .map(|it| words("g1", Role::User, it))
        .into();
    messages[1].metadata = Some(Metadata::parse(r#"{"a":"ä"}"#).unwrap());
    f.record(noon(), vec![group(messages)]).await;
    let id = f.history("g1", noon()).await.unwrap().conversation.id;
    for (from, limit) in [
        (PageStart::At(0), 10),
        (PageStart::At(1), 2),
        (PageStart::Below(3), 2),
        (PageStart::Below(u64::MAX), 3),
        (PageStart::At(4), 3),
        (PageStart::At(0), 0),
    ] {
        let page = PageRange { limit, from };
        let key = ChatKey::Conversation(id);
        let read = f.database.chats.history(&key, page, noon()).await.unwrap();
        let expected: Vec<_> = read
            .unwrap()
            .messages
            .iter()
            .map(MessageSize::from)
            .collect();
        let sizes = f.database.chats.message_sizes(id, page).await.unwrap();
        assert_eq!(sizes, expected, "{page:?}");
    }
    let page = PageRange {
        limit: 10,
        from: PageStart::At(0),
    };
    let sizes = f.database.chats.message_sizes(id, page).await.unwrap();
    assert_eq!(
        sizes.iter().map(|it| it.bytes).collect::<Vec<_>>(),
        [1, 6 + 10, 8, 10]
    );
    let unknown = ConversationId(Uuid::now_v7());
    assert_eq!(
        f.database.chats.message_sizes(unknown, page).await.unwrap(),
        []
    );
}

pub async fn a_users_conversations_come_newest_first(f: &Fixture) {
    let mut begun = Vec::new();
    for name in ["g1", "g2", "g3", "g4"] {
        begun.push(f.say(noon(), name, "hello").await.conversation);
    }
    for name in ["g3", "g1", "g4", "g2"] {
        f.migrate(noon(), name, "u1").await;
    }
    begun.sort();
    begun.reverse();
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page: Vec<_> = f
            .owned("u1", before, 3)
            .await
            .iter()
            .map(|c| c.id)
            .collect();
        let Some(last) = page.last() else { break };
        before = Some(*last);
        seen.extend(page);
    }
    assert_eq!(seen, begun);
}

pub async fn a_guests_chat_is_no_users(f: &Fixture) {
    f.say(noon(), "g1", "hello").await;
    assert!(f.owned("g1", None, 10).await.is_empty());
    f.migrate(noon(), "g1", "u1").await;
    assert_eq!(f.history("g1", noon()).await, None);
    // A user's chat is not found under the user's name as if it were a guest's.
    assert_eq!(f.history("u1", noon()).await, None);
}
