//! Laws of every store.

use crate::Fixture;
use crate::words::*;
use guestbook_core::error::{ErrorKind, Result};
use guestbook_storage::Storage;
use guestbook_storage::database::{AuditScope, ChatKey, PageRange, PageStart};
use guestbook_storage::list_cache::{Append, Item, Origin};
use std::sync::Arc;

fn refused<T: std::fmt::Debug>(answer: Result<T>) {
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);
}

async fn refuses_as_a_store(store: &dyn Storage) {
    refused(store.health().await);
    refused(store.stats().await);
    refused(store.flush().await);
}

pub async fn an_open_store_is_well_and_has_a_name(f: &Fixture) {
    f.say(noon(), "g1", "hello").await;
    f.database.backend.health().await.unwrap();
    f.database.backend.flush().await.unwrap();
    f.lists.health().await.unwrap();
    f.lists.flush().await.unwrap();
    assert!(!f.database.backend.name().is_empty() && !f.database.backend.location().is_empty());
    assert!(!f.lists.name().is_empty() && !f.lists.location().is_empty());
}

pub async fn a_database_counts_its_messages(f: &Fixture) {
    assert_eq!(f.database.backend.stats().await.unwrap().entries, 0);
    f.chatter(noon(), "g1", 3).await;
    f.chatter(noon(), "g2", 2).await;
    let stats = f.database.backend.stats().await.unwrap();
    assert_eq!(stats.entries, 5);
    assert!(stats.bytes > 0);
}

pub async fn a_closed_database_refuses_everything(f: &Fixture) {
    f.say(noon(), "g1", "hello").await;
    let database = &f.database;
    database.backend.close().await.unwrap();
    refuses_as_a_store(&*database.backend).await;
    refused(database.chats.record(batch(noon(), Vec::new())).await);
    let page = PageRange {
        limit: 1,
        from: PageStart::At(0),
    };
    let key = ChatKey::Guest(guest("g1"));
    refused(database.chats.history(&key, page, noon()).await);
    refused(database.chats.erase(&guest("g1"), noon()).await);
    refused(database.outbox.outbox_entries(None, noon(), 1).await);
    refused(database.outbox.lapse(noon(), 1).await);
    refused(database.vectors.vectors_pending(None, 1).await);
    let key = crate::prompts::key("guest:g1", "ask");
    refused(database.prompts.prompts_find(&[key], noon()).await);
    refused(database.prompts.prompts_put(Vec::new(), noon()).await);
    let everything = AuditScope::AllAfter(None);
    refused(database.audit.conversation_audits(everything, 1).await);
    refused(database.audit.repair(Vec::new(), noon()).await);
}

pub async fn closed_lists_refuse_everything(f: &Fixture) {
    let lists = &f.lists;
    let append = Append {
        guest: guest("g1"),
        origin: Origin {
            epoch: f.database.outbox.epoch(),
            conversation: f.say(noon(), "g1", "hello").await.conversation,
        },
        from: 0,
        first: 0,
        items: vec![Item {
            role: guestbook_core::Role::User,
            content: content("hello"),
            timestamp: noon(),
        }],
        expires_at: noon().plus(TTL),
        at: noon(),
    };
    lists.close().await.unwrap();
    refuses_as_a_store(&**lists).await;
    refused(lists.incarnation().await);
    refused(lists.heads(vec![guest("g1")]).await);
    refused(lists.apply(Arc::new(vec![append.clone()])).await);
    refused(lists.replace(append).await);
    refused(lists.range(&guest("g1"), WHOLE, noon()).await);
    refused(lists.remove(vec![guest("g1")]).await);
    refused(lists.guests(None, 1).await);
}
