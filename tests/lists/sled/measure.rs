//! Figures, not laws: `cargo test --release --test sled_lists -- --ignored --nocapture measure`.

use crate::sled::*;
use guestbook::storage::Storage;
use std::time::{Duration, Instant};

const BATCH: u64 = 64;
const BATCHES: u64 = 300;

fn message(name: &str, sequence: u64) -> Append {
    let text = format!("{sequence:<90}");
    Append {
        items: vec![item(&text.replace(' ', "x"))],
        expires_at: at(86_400_000 + sequence.cast_signed()),
        ..append(name, sequence..sequence + 1)
    }
}

fn per(total: Duration, count: u64) -> f64 {
    total.as_secs_f64() * 1e6 / count as f64
}

async fn run(label: &str, batch_of: impl Fn(u64) -> Vec<Append>, batches: u64) -> Fixture {
    let fixture = Fixture::new();
    let (mut applying, mut flushing) = (Duration::ZERO, Vec::new());
    let mut appended = 0;
    for number in 0..batches {
        let batch = Arc::new(batch_of(number));
        appended += batch.len() as u64;
        let since = Instant::now();
        let answers = fixture.lists.apply(batch).await.unwrap();
        applying += since.elapsed();
        assert!(answers.iter().all(|it| *it == Applied::Stored));
        let since = Instant::now();
        fixture.lists.flush().await.unwrap();
        flushing.push(since.elapsed());
    }
    flushing.sort();
    let median = flushing[flushing.len() / 2];
    let bytes = fixture.lists.stats().await.unwrap().bytes;
    println!(
        "{label}: {:.1} us per append, flush median {median:?} max {:?}, {appended} appends, {:.0} bytes on disk each",
        per(applying, appended),
        flushing[flushing.len() - 1],
        bytes as f64 / appended as f64
    );
    fixture
}

#[tokio::test]
#[ignore = "a measurement"]
async fn measure_batches() {
    let distinct = |number: u64| {
        let names = (0..BATCH).map(|n| format!("guest-{n}"));
        names.map(|name| message(&name, number)).collect()
    };
    run("64 guests, one item each per batch", distinct, BATCHES).await;
    let new = |number: u64| {
        let names = (0..BATCH).map(|n| format!("guest-{}", number * BATCH + n));
        names.map(|name| message(&name, 0)).collect()
    };
    run("64 new guests per batch", new, BATCHES).await;
    let one = |number: u64| {
        let sequences = number * BATCH..(number + 1) * BATCH;
        sequences.map(|n| message("guest", n)).collect()
    };
    run("one guest, 64 appends per batch", one, BATCHES).await;
    let single = |number: u64| vec![message("guest", number)];
    run("one append per batch", single, BATCHES).await;
}

#[tokio::test]
#[ignore = "a measurement"]
async fn measure_one_hundred_thousand_messages() {
    const GUESTS: u64 = 5_000;
    let spread = |number: u64| {
        let count = number * 100..(number + 1) * 100;
        let place = |n: u64| message(&format!("guest-{}", n % GUESTS), n / GUESTS);
        count.map(place).collect()
    };
    let since = Instant::now();
    let fixture = run("20 messages for each of 5,000 guests", spread, 1_000).await;
    println!("whole run {:?}", since.elapsed());
    fixture.lists.close().await.unwrap();
    let since = Instant::now();
    let lists = SledLists::open(&fixture.path()).unwrap();
    println!("reopened in {:?}", since.elapsed());
    let bytes = lists.stats().await.unwrap().bytes;
    println!("after reopening {:.0} bytes each", bytes as f64 / 1e5);
    let since = Instant::now();
    let removed = lists.sweep(at(i64::MAX), usize::MAX).await.unwrap();
    println!("swept {removed} lists of 20 in {:?}", since.elapsed());
}

/// Whether the space of expired lists is used again.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_disk_use_over_many_lives() {
    let fixture = Fixture::new();
    for life in 0..10_u64 {
        for number in 0..200_u64 {
            let count = number * 100..(number + 1) * 100;
            let place = |n: u64| message(&format!("guest-{life}-{}", n % 1_000), n / 1_000);
            let batch = Arc::new(count.map(place).collect());
            fixture.lists.apply(batch).await.unwrap();
            fixture.lists.flush().await.unwrap();
        }
        let full = fixture.lists.stats().await.unwrap();
        let swept = fixture.lists.sweep(at(i64::MAX), usize::MAX).await.unwrap();
        fixture.lists.flush().await.unwrap();
        let empty = fixture.lists.stats().await.unwrap();
        println!(
            "life {life}: 20,000 messages in {} lists {} KiB, {swept} swept {} KiB",
            full.entries,
            full.bytes >> 10,
            empty.bytes >> 10
        );
    }
}
