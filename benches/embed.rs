//! The vector of one message from the built-in table: what a message pays before it is queued.

mod common;

use common::TEXT;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use guestbook::embed::InlineEmbedder;
use guestbook::embed::table::StaticTable;

/// Bytes of the message.
const LENGTHS: [usize; 4] = [4, 90, 1000, 10_000];

fn main() {
    divan::main();
}

#[divan::bench(args = LENGTHS)]
fn static_table(bencher: Bencher<'_, '_>, length: usize) {
    let table = StaticTable::new();
    let text: String = TEXT.chars().cycle().take(length).collect();
    bencher
        .counter(ItemsCount::new(1_usize))
        .counter(BytesCount::of_str(&text))
        .bench_local(|| {
            table
                .embed_now(black_box(&text))
                .expect("a table cannot fail")
        });
}

/// Once per start of the program.
#[divan::bench]
fn make_the_table() -> StaticTable {
    StaticTable::new()
}
