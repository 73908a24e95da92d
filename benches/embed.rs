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

/// The sum of as many rows of 256 bytes, without finding out which: what no table of this size can do without.
#[divan::bench(args = LENGTHS)]
fn bare_sum_of_rows(bencher: Bencher<'_, '_>, length: usize) {
    let text: String = TEXT.chars().cycle().take(length).collect();
    let pieces = StaticTable::new().pieces(&text);
    let rows: Vec<[i8; 256]> = (0..4096_u32)
        .map(|row| std::array::from_fn(|at| (row.wrapping_mul(31) + at as u32) as i8))
        .collect();
    bencher
        .counter(ItemsCount::new(1_usize))
        .counter(BytesCount::of_str(&text))
        .bench_local(|| {
            let mut sum = [0.0_f32; 256];
            for piece in black_box(&pieces) {
                for (to, from) in sum.iter_mut().zip(&rows[*piece as usize % rows.len()]) {
                    *to += f32::from(*from);
                }
            }
            let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-9);
            sum.map(|x| (x / length * 127.0) as i8)
        });
}

/// Once per start of the program.
#[divan::bench]
fn make_the_table() -> StaticTable {
    StaticTable::new()
}
