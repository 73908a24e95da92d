//! `record` of a batch of messages, beside a hand-written loop that writes the same rows into the same tables.
//!
//! Both write to a file in a temporary folder, with the same settings (WAL, synchronous=FULL) and, at each commit, an fsync.
//! The second measure is what SQLite alone costs; the ratio of the two is what Guestbook adds: the hash chain, titles,
//! list windows, looking for repeated ids. Read the ratio, not the figures: they are those of the machine's disk.
//!
//! `TMPDIR=. cargo bench --bench record` measures the disk of the current folder.

mod common;

use common::by_hand::HandWritten;
use common::{GUESTS, batch, batch_of_one_guest, now};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use guestbook::core::Ttl;
use guestbook::embed::Embedder;
use guestbook::embed::table::StaticTable;
use guestbook::sqlite::SqliteDatabase;
use guestbook::storage::Chats;
use guestbook::storage::database::{ChatKey, PageRange, PageStart, TableSettings};
use std::time::Duration;
use tempfile::TempDir;

/// Messages per commit.
const SIZES: [usize; 5] = [1, 16, 64, 256, 1024];

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES, sample_count = 100, sample_size = 1)]
fn guestbook_record(bencher: Bencher<'_, '_>, size: usize) {
    let folder = folder();
    let model = StaticTable::new();
    let database = database(&folder, &model);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let record = |batch| {
        runtime
            .block_on(database.record(batch))
            .expect("messages without a fault")
    };
    record(batch(&model, GUESTS as usize)); // every guest has a chat, as in a store that is in use
    bencher
        .counter(ItemsCount::new(size))
        .with_inputs(|| batch(&model, size))
        .bench_local_values(|batch| black_box(record(batch)));
}

#[divan::bench(args = SIZES, sample_count = 100, sample_size = 1)]
fn hand_written_loop(bencher: Bencher<'_, '_>, size: usize) {
    let folder = folder();
    let model = StaticTable::new();
    let mut writer = HandWritten::open(folder.path());
    writer.record(&batch(&model, GUESTS as usize));
    bencher
        .counter(ItemsCount::new(size))
        .with_inputs(|| batch(&model, size))
        .bench_local_values(|batch| writer.record(&batch));
}

/// Messages of the history that is read.
const LENGTH: usize = 50;

#[divan::bench]
fn guestbook_history_of_50(bencher: Bencher<'_, '_>) {
    let folder = folder();
    let database = database(&folder, &StaticTable::new());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let batch = batch_of_one_guest(LENGTH);
    let guest = batch.groups[0].0[0].message.guest.clone();
    runtime
        .block_on(database.record(batch))
        .expect("messages without a fault");
    let (chat, page) = (
        ChatKey::Guest(guest),
        PageRange {
            limit: LENGTH,
            from: PageStart::At(0),
        },
    );
    bencher.counter(ItemsCount::new(LENGTH)).bench_local(|| {
        let history = runtime.block_on(database.history(black_box(&chat), page, now()));
        let found = history.expect("a healthy store").expect("a chat");
        assert_eq!(found.messages.len(), LENGTH);
    });
}

/// The same rows by one prepared statement on the same thread.
#[divan::bench]
fn bare_rusqlite_history_of_50(bencher: Bencher<'_, '_>) {
    let folder = folder();
    let mut writer = HandWritten::open(folder.path());
    let batch = batch_of_one_guest(LENGTH);
    let guest = batch.groups[0].0[0].message.guest.clone();
    writer.record(&batch);
    bencher.counter(ItemsCount::new(LENGTH)).bench_local(|| {
        assert_eq!(writer.history(black_box(guest.as_str())).len(), LENGTH);
    });
}

fn database(folder: &TempDir, model: &StaticTable) -> SqliteDatabase {
    let settings = TableSettings {
        list_ttl: Ttl(Duration::from_secs(86_400)),
        retention: None,
        model: Some(model.model().clone()),
        cache_backend: "sled",
        text_index: false,
    };
    SqliteDatabase::open(&folder.path().join("guestbook.db"), settings).expect("a new database")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}
