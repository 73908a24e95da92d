//! The sled lists behind their trait: the laws of a list, and what happens to damaged stores.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its helpers do too"
)]

mod damage;
mod laws;
mod measure;

use guestbook::core::{Content, ConversationId, GuestId, Role, Timestamp};
use guestbook::sled::SledLists;
use guestbook::storage::list_cache::{Append, Applied, Item, ListCache, Origin};
use guestbook_storage_contract::words::WHOLE;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

/// When the lists of these tests end, unless a test says otherwise.
const END: i64 = 1_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn guest(name: &str) -> GuestId {
    GuestId::parse(name).unwrap()
}

fn origin(number: u128) -> Origin {
    Origin {
        epoch: Uuid::from_u128(7),
        conversation: ConversationId(Uuid::from_u128(number)),
    }
}

fn item(text: &str) -> Item {
    Item {
        role: Role::User,
        content: Content::parse(text, 1 << 20).unwrap(),
        timestamp: at(5),
    }
}

/// Items of which each says its sequence.
fn items(sequences: Range<u64>) -> Vec<Item> {
    sequences.map(|n| item(&format!("message {n}"))).collect()
}

/// The append of these sequences to a list that begins at 0.
fn append(name: &str, sequences: Range<u64>) -> Append {
    Append {
        guest: guest(name),
        origin: origin(1),
        from: 0,
        first: sequences.start,
        items: items(sequences),
        expires_at: at(END),
        at: at(0),
    }
}

/// A directory and the lists in it. The directory goes when this is dropped.
struct Fixture {
    folder: TempDir,
    lists: SledLists,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lists = SledLists::open(&folder.path().join("lists")).unwrap();
        Self { folder, lists }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("lists")
    }

    async fn apply(&self, append: Append) -> Applied {
        let answers = self.lists.apply(Arc::new(vec![append])).await.unwrap();
        assert_eq!(answers.len(), 1);
        answers[0]
    }

    /// The list's first sequence and items, before its end.
    async fn read(&self, name: &str) -> Option<(u64, Vec<Item>)> {
        let list = self
            .lists
            .range(&guest(name), WHOLE, at(0))
            .await
            .unwrap()?;
        assert_eq!(list.head.next - list.head.from, list.items.len() as u64);
        Some((list.head.from, list.items))
    }
}
