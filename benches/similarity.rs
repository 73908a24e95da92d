//! Comparing one vector with many: the kernel of every search, beside its twin for any CPU and a scan in plain f64.

mod common;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use guestbook::core::{QuantizedQuery, Vector};

const DIMENSION: usize = 256;
/// 4 MiB of vectors: more than the nearest caches hold, as in a large index.
const ROWS: usize = 16_384;

fn main() {
    divan::main();
}

/// Cells of the lengths that unit vectors have, the same in every run.
fn cells(count: usize) -> Vec<i8> {
    let mut state = 42_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    (0..count)
        .map(|_| (next() % 41).cast_signed() - 20)
        .collect()
}

fn sought() -> Vector {
    let bytes: Vec<u8> = cells(DIMENSION)
        .into_iter()
        .map(i8::cast_unsigned)
        .collect();
    Vector::from_bytes(&bytes).expect("not all zero")
}

fn scan(bencher: Bencher<'_, '_>, probe: QuantizedQuery) {
    let (rows, mut dots) = (cells(ROWS * DIMENSION), vec![0; ROWS]);
    bencher
        .counter(ItemsCount::new(ROWS))
        .counter(BytesCount::new(ROWS * DIMENSION))
        .bench_local(|| {
            probe.dots(black_box(&rows), &mut dots);
            black_box(dots[ROWS - 1])
        });
}

#[divan::bench]
fn probe(bencher: Bencher<'_, '_>) {
    scan(bencher, QuantizedQuery::new(&sought()));
}

#[divan::bench]
fn twin_for_any_cpu(bencher: Bencher<'_, '_>) {
    scan(bencher, QuantizedQuery::plain(&sought()));
}

/// What one would write by hand over vectors kept as f64.
#[divan::bench]
fn plain_f64(bencher: Bencher<'_, '_>) {
    let wide = |cells: Vec<i8>| cells.into_iter().map(f64::from).collect::<Vec<_>>();
    let (sought, rows) = (wide(cells(DIMENSION)), wide(cells(ROWS * DIMENSION)));
    let mut dots = vec![0.0; ROWS];
    bencher
        .counter(ItemsCount::new(ROWS))
        .counter(BytesCount::new(ROWS * DIMENSION * size_of::<f64>()))
        .bench_local(|| {
            for (row, dot) in black_box(&rows).chunks_exact(DIMENSION).zip(&mut dots) {
                *dot = row.iter().zip(&sought).map(|(a, b)| a * b).sum::<f64>();
            }
            black_box(dots[ROWS - 1])
        });
}
