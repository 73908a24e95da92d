//! Reads of unbounded length wait for each other and hold up no others.

use super::{SqliteDatabase, readers};
use guestbook_core::{
    ContextBudget, ConversationId, GuestId, Limit, SearchText, Timestamp, Ttl, Words,
};
use guestbook_storage::database::Search;
use guestbook_storage::database::{
    ChatKey, ContextRequest, PageRange, PageStart, SearchQuery, SearchRequest, SearchScope,
    TableSettings,
};
use guestbook_storage::{Chats, Storage};
use rusqlite::params;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use tokio::sync::oneshot;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(120);
const NOW: &str = "2025-12-21T12:00:00.000Z";

fn guest(name: &str) -> GuestId {
    GuestId::parse(name).unwrap()
}

fn now() -> Timestamp {
    Timestamp::parse(NOW).unwrap()
}

/// A chat whose row counts this many messages.
async fn chat(database: &SqliteDatabase, name: &'static str, messages: u64) {
    let insert = "INSERT INTO conversation_cache (id, user_id, session_id, title, conversation_hash, message_count, total_tokens,
        platform, created_at, accessed_at) VALUES (?1, ?2, ?2, 'hello', ?5, ?3, 1, 'guest', ?4, ?4)";
    let id = ConversationId(Uuid::new_v4()).to_string();
    let hash = "0".repeat(64);
    let written = database.write("test", move |tx, _| {
        tx.execute(insert, params![id, name, messages, NOW, hash])
    });
    assert_eq!(written.await.unwrap(), 1);
}

fn search(name: &str) -> SearchRequest {
    let text = SearchText::parse("q", "tea").unwrap();
    SearchRequest {
        scope: SearchScope::Guest(guest(name)),
        sought: SearchQuery::Text(Words::of("q", &text).unwrap()),
        k: Limit::default(),
        now: now(),
    }
}

/// Keeps every thread for long reads busy until the senders are dropped.
async fn hold(database: &Arc<SqliteDatabase>) -> Vec<Sender<()>> {
    let mut all = Vec::new();
    for _ in 0..readers::LONG {
        let (held, until) = channel::<()>();
        let (begin, begun) = oneshot::channel();
        let database = Arc::clone(database);
        tokio::spawn(async move {
            let wait = move |_: &mut _| {
                begin.send(()).unwrap();
                let _ = until.recv(); // its sender was dropped
                Ok(())
            };
            database.readers.long.call("held", wait).await
        });
        begun.await.unwrap();
        all.push(held);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_reads_and_readiness_wait_for_no_long_one() {
    let folder = tempfile::tempdir().unwrap();
    let settings = TableSettings {
        list_ttl: Ttl::DEFAULT,
        retention: None,
        model: None,
        cache_backend: "sled",
        text_index: false,
    };
    let path = folder.path().join("guestbook.db");
    let database = Arc::new(SqliteDatabase::open(&path, settings).unwrap());
    chat(&database, "long", 3_000).await;
    chat(&database, "short", 3).await;
    let held = hold(&database).await;
    let long: Vec<_> = (0..8)
        .map(|_| {
            let database = Arc::clone(&database);
            tokio::spawn(async move { database.search(search("long")).await })
        })
        .collect();
    let short = async {
        for _ in 0..20 {
            assert_eq!(database.search(search("short")).await.unwrap().of, 3);
            let key = ChatKey::Guest(guest("long"));
            let page = PageRange {
                limit: 10,
                from: PageStart::At(0),
            };
            assert!(database.history(&key, page, now()).await.unwrap().is_some());
            let context = ContextRequest {
                guest: guest("long"),
                budget: ContextBudget::new(100, None).unwrap(),
                about: None,
                now: now(),
            };
            assert!(database.context(context).await.unwrap().is_some());
            database.health().await.unwrap();
        }
    };
    let done = tokio::time::timeout(PATIENCE, short).await;
    done.expect("they wait for nobody");
    assert!(long.iter().all(|search| !search.is_finished()));
    drop(held);
    for search in long {
        assert_eq!(search.await.unwrap().unwrap().of, 3_000);
    }
    database.close().await.unwrap();
}
