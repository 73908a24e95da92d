//! What the benchmarks share: messages like those of a chat, the same in every run.
#![allow(dead_code, reason = "each benchmark uses its own part of this")]
#![allow(unreachable_pub, reason = "a module of a binary")]

pub mod by_hand;

use guestbook::core::{Content, GuestId, MessageId, NewMessage, Role, Timestamp, Vector};
use guestbook::embed::InlineEmbedder;
use guestbook::embed::table::StaticTable;
use guestbook::storage::database::{Batch, Embedding, Entry, Group};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// About as long as the mean message of a support chat: 90 bytes.
pub const TEXT: &str =
    "Could you tell me where my order is? I paid on Monday, and the mail with the link is gone.";

/// Guests that messages are spread over.
pub const GUESTS: u64 = 1000;

/// 2026-11-23T12:00:00Z
pub const NOW_MS: i64 = 1_795_435_200_000;

/// The present moment of every benchmark.
pub fn now() -> Timestamp {
    Timestamp::from_ms(NOW_MS)
}

/// The guest of this number.
pub fn guest(number: u64) -> GuestId {
    GuestId::parse(&format!("guest-{:04}", number % GUESTS)).expect("letters, digits and a hyphen")
}

/// Numbers that differ from call to call, so that no two messages are of one guest in one batch below [`GUESTS`].
pub fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A message with an id of our own making, for the next guest.
pub fn message() -> NewMessage {
    let number = next_number();
    let role = if number.is_multiple_of(2) {
        Role::User
    } else {
        Role::Assistant
    };
    let content = Content::parse(&format!("{TEXT} #{number}"), 65_536).expect("a short text");
    NewMessage::new(
        MessageId(Uuid::now_v7()),
        guest(number),
        role,
        content,
        now(),
    )
}

/// So many messages, each a group of its own with its vector.
pub fn batch(model: &StaticTable, size: usize) -> Arc<Batch> {
    batch_of(model, (0..size).map(|_| message()))
}

/// These messages, each a group of its own with its vector.
pub fn batch_of(model: &StaticTable, messages: impl Iterator<Item = NewMessage>) -> Arc<Batch> {
    let entry = |message: NewMessage| {
        let vector = embed(model, message.content.as_str());
        Entry {
            message,
            embedding: Embedding::Vector(vector),
        }
    };
    Arc::new(Batch {
        at: now(),
        groups: messages
            .map(|message| Group(vec![entry(message)]))
            .collect(),
        ..Batch::default()
    })
}

fn embed(model: &StaticTable, text: &str) -> Vector {
    let vector = model.embed_now(text).expect("a table cannot fail");
    vector.expect("English words")
}

/// So many messages of one guest.
pub fn batch_of_one_guest(size: usize) -> Arc<Batch> {
    let model = StaticTable::new();
    let mut batch = Arc::unwrap_or_clone(batch(&model, size));
    let owner = guest(0);
    for group in &mut batch.groups {
        for entry in &mut group.0 {
            entry.message.guest = owner.clone();
        }
    }
    Arc::new(batch)
}
