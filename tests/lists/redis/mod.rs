//! The lists on a Redis behind their trait: what others see there, and what happens when servers fail.
#![cfg(feature = "redis")]
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its helpers do too"
)]

mod cluster;
mod damage;
mod keys;
mod measure;
mod model;
mod outages;
mod permissions;
mod secure;
mod server;

use guestbook::core::{Content, ConversationId, GuestId, Role, Timestamp};
use guestbook::open::{CacheUrl, lists};
use guestbook::storage::ListCache;
use guestbook::storage::list_cache::{Append, Applied, Item, ListPage, Origin};
use guestbook_storage_contract::words::WHOLE;
use server::{PATIENCE, Server};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A time before the end of every list here; far in the future, because a Redis expires by its own clock.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_ms(4_000_000_000_000 + seconds * 1000)
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

/// Items of which each says its sequence.
fn items(sequences: Range<u64>) -> Vec<Item> {
    let item = |n| Item {
        role: Role::User,
        content: Content::from_stored(&format!("message {n}")),
        timestamp: Timestamp::from_ms(1_766_318_400_000),
    };
    sequences.map(item).collect()
}

/// The append of these sequences to a list that begins at 0.
fn append(name: &str, sequences: Range<u64>) -> Append {
    Append {
        guest: guest(name),
        origin: origin(1),
        from: 0,
        first: sequences.start,
        items: items(sequences),
        expires_at: at(1000),
        at: at(0),
    }
}

async fn open(url: &str) -> Arc<dyn ListCache> {
    lists(&CacheUrl::parse(url).unwrap()).await.unwrap()
}

async fn apply(lists: &dyn ListCache, append: Append) -> Applied {
    lists.apply(Arc::new(vec![append])).await.unwrap()[0]
}

async fn read(lists: &dyn ListCache, name: &str) -> Option<ListPage> {
    lists.range(&guest(name), WHOLE, at(0)).await.unwrap()
}

/// The list of a guest is exactly these messages.
async fn assert_holds(lists: &dyn ListCache, name: &str, sequences: Range<u64>) {
    let list = read(lists, name).await.expect("a list");
    assert_eq!(
        (list.head.from, list.head.next),
        (sequences.start, sequences.end)
    );
    assert_eq!(list.items, items(sequences));
    assert_eq!(
        lists.heads(vec![guest(name)]).await.unwrap(),
        [Some(list.head)]
    );
}

/// Asks until it is so.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
