//! Laws of pages that were read before: while a database calls one current, it is what would be read.

use crate::Fixture;
use crate::words::*;
use guestbook_core::Role;
use guestbook_storage::database::{History, Repair, VectorOutcome, VectorUpdate};

impl Fixture {
    /// Whether a page is current; it then has to be what is read.
    async fn is_current(&self, held: &History, name: &str) -> bool {
        let current = (held.version.as_ref()).is_some_and(|it| self.database.chats.is_fresh(it));
        if current {
            let read = self.history(name, noon()).await.expect("a chat");
            assert_eq!(read.conversation, held.conversation);
            assert_eq!(read.messages, held.messages);
        }
        current
    }

    /// A page that was just read.
    async fn held(&self, name: &str) -> History {
        let held = self.history(name, noon()).await.expect("a chat");
        assert_eq!(self.is_current(&held, name).await, held.version.is_some());
        held
    }
}

pub async fn only_a_database_of_one_process_knows_what_is_current(f: &Fixture) {
    f.say(noon(), "g1", "hello").await;
    let version = f.held("g1").await.version;
    assert_eq!(version.is_some(), f.database.backend.name() == "sqlite");
}

pub async fn a_page_is_current_no_more_when_a_message_is_answered(f: &Fixture) {
    f.say(noon(), "g1", "one").await;
    for text in ["two", "three"] {
        let held = f.held("g1").await;
        f.say(noon(), "g1", text).await;
        assert!(!f.is_current(&held, "g1").await);
        assert_eq!(
            f.messages("g1", noon())
                .await
                .last()
                .unwrap()
                .content
                .as_str(),
            text
        );
    }
    let held = f.held("g1").await;
    let both = ["g2", "g1"].map(|name| group([words(name, Role::User, "four")]));
    f.record(noon(), both.into()).await;
    assert!(!f.is_current(&held, "g1").await);
    assert_eq!(f.messages("g1", noon()).await.len(), 4);
}

pub async fn a_page_is_current_no_more_when_its_chat_is_erased_or_migrated(f: &Fixture) {
    f.chatter(noon(), "g1", 2).await;
    f.chatter(noon(), "g2", 2).await;
    let (erased, migrated) = (f.held("g1").await, f.held("g2").await);
    f.erase(noon(), "g1").await;
    assert!(!f.is_current(&erased, "g1").await);
    f.migrate(noon(), "g2", "u1").await;
    assert!(!f.is_current(&migrated, "g2").await);
    assert_eq!(f.history("g1", noon()).await, None);
    assert_eq!(f.history("g2", noon()).await, None);
    f.say(noon(), "g1", "anew").await;
    assert!(!f.is_current(&erased, "g1").await);
}

pub async fn a_page_is_current_no_more_when_its_row_is_mended(f: &Fixture) {
    let said = f.chatter(noon(), "g1", 2).await;
    let held = f.held("g1").await;
    let repair = Repair::Counters {
        conversation: said[0].conversation,
        hash: held.conversation.hash.clone(),
        message_count: 30,
        total_tokens: 90,
    };
    f.database.audit.repair(vec![repair], noon()).await.unwrap();
    assert!(!f.is_current(&held, "g1").await);
}

pub async fn a_page_is_current_no_more_when_retention_has_removed_its_chat(f: &Fixture) {
    f.say(noon(), "g1", "hello").await;
    let held = f.held("g1").await;
    let later = noon().plus(KEPT);
    f.database.chats.expire(later, ALL).await.unwrap();
    assert!(!f.is_current(&held, "g1").await);
    assert_eq!(f.history("g1", noon()).await, None);
}

pub async fn a_page_stays_current_while_others_write(f: &Fixture) {
    let said = f.chatter(noon(), "g1", 3).await;
    f.mark_synced(noon(), &said).await;
    let held = f.held("g1").await;
    f.chatter(noon(), "g2", 3).await;
    f.migrate(noon(), "g2", "u1").await;
    f.say(noon(), "g3", "hello").await;
    f.erase(noon(), "g3").await;
    f.database
        .outbox
        .mark_synced(Vec::new(), reads(3, 1), noon())
        .await
        .unwrap();
    f.database.chats.expire(noon(), ALL).await.unwrap();
    let update = VectorUpdate {
        id: said[0].id,
        attempts: 1,
        outcome: VectorOutcome::Vector(vector(1)),
    };
    let model = model("first");
    f.database
        .vectors
        .vectors_update(&model, vec![update], noon())
        .await
        .unwrap();
    assert_eq!(f.is_current(&held, "g1").await, held.version.is_some());
}

pub async fn nothing_is_current_in_a_closed_database(f: &Fixture) {
    f.say(noon(), "g1", "hello").await;
    let held = f.held("g1").await;
    f.database.backend.close().await.unwrap();
    assert!(!(held.version.as_ref()).is_some_and(|it| f.database.chats.is_fresh(it)));
}
