//! The lists in sled: appending and reading, beside bare sled inserts of the same bytes.
//!
//! Neither waits for the disk: lists are made durable together, some times a second, after the answer.

mod common;

use common::{guest, message, next_number, now};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use guestbook::core::ConversationId;
use guestbook::sled::SledLists;
use guestbook::storage::ListCache;
use guestbook::storage::list_cache::{Append, Applied, Item, Origin};
use guestbook_storage_contract::words::WHOLE;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Lists appended to at a time, one message each.
const SIZES: [usize; 3] = [1, 64, 1024];
/// Messages of the list that is read.
const LENGTH: usize = 50;

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES, sample_count = 50, sample_size = 4)]
fn apply(bencher: Bencher<'_, '_>, size: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lists = SledLists::open(&folder.path().join("lists")).expect("new lists");
    let runtime = runtime();
    bencher
        .counter(ItemsCount::new(size))
        .with_inputs(|| Arc::new((0..size).map(|_| new_list(1)).collect::<Vec<_>>()))
        .bench_local_values(|appends| {
            let applied = runtime
                .block_on(lists.apply(appends))
                .expect("a healthy store");
            assert!(applied.iter().all(|one| *one == Applied::Stored));
        });
}

/// A store with the settings of ours.
fn bare_sled(folder: &Path) -> sled::Db {
    sled::Config::new()
        .path(folder)
        .cache_capacity(32 << 20)
        .flush_every_ms(None)
        .open()
        .expect("a new store")
}

/// One item and one head record per append, each an insert of its own.
#[divan::bench(args = SIZES, sample_count = 50, sample_size = 4)]
fn bare_sled_inserts(bencher: Bencher<'_, '_>, size: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = bare_sled(folder.path());
    let items = db.open_tree("items").expect("a new tree");
    let heads = db.open_tree("heads").expect("a new tree");
    bencher
        .counter(ItemsCount::new(size))
        .with_inputs(|| (0..size).map(|_| message()).collect::<Vec<_>>())
        .bench_local_values(|messages| {
            for message in messages {
                let key = (next_number()).to_be_bytes();
                let text = message.content.as_str().as_bytes();
                items.insert(key, text).expect("a healthy store");
                // A head is about 70 bytes: two ids, two sequences, a time and a checksum.
                heads
                    .insert(key, [7_u8; 70].as_slice())
                    .expect("a healthy store");
            }
        });
}

#[divan::bench]
fn range_of_50(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lists = SledLists::open(&folder.path().join("lists")).expect("new lists");
    let runtime = runtime();
    let list = new_list(LENGTH);
    let guest = list.guest.clone();
    runtime.block_on(lists.replace(list)).expect("a new list");
    bencher.counter(ItemsCount::new(LENGTH)).bench_local(|| {
        let list = runtime.block_on(lists.range(black_box(&guest), WHOLE, now()));
        assert_eq!(
            list.expect("a healthy store").map(|it| it.items.len()),
            Some(LENGTH)
        );
    });
}

fn runtime() -> Runtime {
    let built = tokio::runtime::Builder::new_current_thread().build();
    built.expect("a runtime")
}

/// A list that begins anew, so that appending it never leaves a gap.
fn new_list(length: usize) -> Append {
    let items = (0..length).map(|_| message()).map(|message| Item {
        role: message.role,
        content: message.content,
        timestamp: message.sent_at,
    });
    let origin = Origin {
        epoch: Uuid::nil(),
        conversation: ConversationId(Uuid::now_v7()),
    };
    Append {
        guest: guest(next_number()),
        origin,
        from: 0,
        first: 0,
        items: items.collect(),
        expires_at: now().plus(Duration::from_secs(86_400)),
        at: now(),
    }
}

/// The same 50 texts by a scan of their keys, and no more.
#[divan::bench]
fn bare_sled_range_of_50(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = bare_sled(folder.path());
    for at in 0..LENGTH as u64 {
        let text = message();
        db.insert(at.to_be_bytes(), text.content.as_str().as_bytes())
            .expect("a healthy store");
    }
    let end = (LENGTH as u64).to_be_bytes();
    bencher.counter(ItemsCount::new(LENGTH)).bench_local(|| {
        let found = db.range(..black_box(end)).map(|pair| {
            let (_, text) = pair.expect("a healthy store");
            String::from_utf8(text.to_vec()).expect("a text")
        });
        let texts: Vec<String> = found.collect();
        assert_eq!(texts.len(), LENGTH);
    });
}
