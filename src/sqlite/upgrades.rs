//! Files of earlier versions open with their whole content, also after an interrupted upgrade.

use super::SqliteDatabase;
use super::open::{self, MIGRATIONS};
use guestbook_core::{
    ClientId, Content, ConversationId, GuestId, MessageId, NewMessage, Role, Timestamp, Ttl,
    chain_link, chain_start, content_hash,
};
use guestbook_storage::Chats;
use guestbook_storage::database::{
    Batch, ChatKey, Embedding, Entry, Group, Outcome, PageRange, PageStart, TableSettings,
};
use rusqlite::{Connection, params};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use uuid::Uuid;

const SENT_AT: &str = "2025-12-21T12:00:00.000Z";

fn settings() -> TableSettings {
    TableSettings {
        list_ttl: Ttl::DEFAULT,
        retention: None,
        model: None,
        cache_backend: "sled",
        text_index: false,
    }
}

/// A file with the first `versions` of the schema, and one message under this id.
fn older(path: &Path, versions: usize, id: MessageId) {
    let mut connection = Connection::open(path).unwrap();
    open::runner(&MIGRATIONS[..versions])
        .unwrap()
        .run(&mut connection)
        .unwrap();
    let conversation = ConversationId(Uuid::from_u128(7));
    let (hash, sent_at) = (content_hash("hello"), Timestamp::parse(SENT_AT).unwrap());
    let head = chain_link(chain_start(conversation), 0, Role::User, hash, sent_at);
    let insert = "INSERT INTO conversation_cache (id, user_id, session_id, title, conversation_hash, message_count, total_tokens,
        platform, created_at, accessed_at) VALUES (?1, 'g1', 'g1', 'hello', ?2, 1, 1, 'guest', ?3, ?3)";
    let row = params![conversation.to_string(), head.to_hex(), SENT_AT];
    connection.execute(insert, row).unwrap();
    let insert = "INSERT INTO message_cache (id, conversation_id, role, content, message_hash, tokens, sequence, sent_at,
        created_at, updated_at) VALUES (?1, ?2, 'user', 'hello', ?3, 1, 0, ?4, ?4, ?4)";
    let row = params![
        id.to_string(),
        conversation.to_string(),
        hash.to_hex(),
        SENT_AT
    ];
    connection.execute(insert, row).unwrap();
}

fn sent(id: impl Into<ClientId>, text: &str) -> Group {
    let (guest, at) = (
        GuestId::parse("g1").unwrap(),
        Timestamp::parse(SENT_AT).unwrap(),
    );
    let content = Content::parse(text, 100).unwrap();
    let message = NewMessage::new(MessageId(Uuid::now_v7()), guest, Role::User, content, at);
    let message = message.with_client_id(id);
    let embedding = Embedding::Off;
    Group(vec![Entry { message, embedding }])
}

/// Stored messages are there, a repeated id is recognized, and new ids can be stored.
async fn assert_goes_on(path: &Path, id: MessageId) {
    let database = SqliteDatabase::open(path, settings()).unwrap();
    let groups = vec![
        sent(id, "hello"),
        sent(id, "other"),
        sent(ClientId::parse("m1").unwrap(), "new"),
    ];
    let at = Timestamp::parse(SENT_AT).unwrap();
    let batch = Batch {
        at,
        groups,
        ..Batch::default()
    };
    let outcomes = database.record(Arc::new(batch)).await.unwrap();
    let Outcome::Stored(first) = &outcomes[0] else {
        panic!("{outcomes:?}");
    };
    assert!(first[0].replayed.is_some());
    assert!(matches!(outcomes[1], Outcome::Conflict { .. }));
    let page = PageRange {
        limit: 9,
        from: PageStart::At(0),
    };
    let chat = ChatKey::Guest(GuestId::parse("g1").unwrap());
    let read = database.history(&chat, page, at).await.unwrap().unwrap();
    let shown = |at: usize| {
        (
            read.messages[at].id,
            read.messages[at].external_id.as_deref(),
        )
    };
    assert_eq!(read.messages.len(), 2);
    assert_eq!(shown(0), (id, None));
    assert_eq!(shown(1).1, Some("m1"));
}

#[tokio::test]
async fn a_file_of_every_earlier_version_opens_with_what_is_in_it() {
    for versions in 1..MIGRATIONS.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guestbook.db");
        let id = MessageId(Uuid::from_u128(1));
        older(&path, versions, id);
        assert_goes_on(&path, id).await;
    }
}

#[tokio::test]
async fn an_upgrade_that_was_broken_off_is_begun_again() {
    for allowed in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guestbook.db");
        let id = MessageId(Uuid::from_u128(1));
        older(&path, 1, id);
        let left = Arc::new(AtomicI64::new(allowed));
        let refuses = move || left.fetch_sub(1, Ordering::SeqCst) <= 0;
        let mut connection = Connection::open(&path).unwrap();
        connection.commit_hook(Some(refuses)).unwrap();
        let upgraded = open::migrate(&mut connection);
        drop(connection);
        assert_goes_on(&path, id).await;
        if upgraded.is_ok() {
            assert!(allowed > 0, "nothing was refused");
            return;
        }
    }
}
