//! A state machine: random sequences of what clients do, on a service over real stores that fail, are closed and opened again, and die
//! with the process in the middle of things; and the same, without any of that, on the reference in memory. A client that was
//! told nothing sends again, as ours do. Then both have the same chats, lists and users, and verify finds nothing. (tests/model
//! compares the databases themselves, call by call.)
//!
//! Failures hit any call of either store, before or after its effect. `GUESTBOOK_TEST_SEED` repeats a run, sequence by sequence
//! the same steps, `GUESTBOOK_TEST_SEQUENCE` one sequence of it alone; `GUESTBOOK_TEST_LONG` makes it 10,000 sequences on SQLite and sled, and 500 where there are servers.
//!
//! Put in by hand: an append to the lists that fails is noted as if it had been done (src/service/ingest/apply.rs). The short form
//! found it in every one of the six sequences that ran side by side: "the list of bob; left: subject …", 6 differences.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod place;
mod sequence;
mod step;

use place::{Kind, Place};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Sequences of the short form, and side by side: each mostly waits for a disk or a back-off.
const SHORT: u64 = 100;
const TOGETHER: usize = 6;

fn given(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs so many sequences, or `long` of them in the long form.
fn run(kind: Kind, short: u64, long: u64) {
    let is_long = std::env::var_os("GUESTBOOK_TEST_LONG").is_some();
    let count = if is_long { long } else { short };
    let seed = given("GUESTBOOK_TEST_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    let only = given("GUESTBOOK_TEST_SEQUENCE");
    println!("GUESTBOOK_TEST_SEED={seed}");
    let (began, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let totals = Arc::new(sequence::Totals::default());
    let worker = || {
        let (next, totals) = (Arc::clone(&next), Arc::clone(&totals));
        std::thread::spawn(move || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                if only.is_some_and(|only| only != number) {
                    continue;
                }
                sequence::run(&Place::new(kind), seed, number, &totals);
            }
        })
    };
    let workers: Vec<_> = (0..TOGETHER).map(|_| worker()).collect();
    let ended: Vec<_> = workers
        .into_iter()
        .map(std::thread::JoinHandle::join)
        .collect();
    let took = began.elapsed().as_secs();
    let differences = ended.iter().filter(|ended| ended.is_err()).count();
    println!(
        "figure: machine {kind:?}: {count} sequences, {totals}, {differences} differences, {took} s; GUESTBOOK_TEST_SEED={seed}"
    );
    assert_eq!(differences, 0, "see above");
}

macro_rules! machines {
    ($($(#[$cfg:meta])* $pair:ident: $kind:ident, $short:expr, $long:expr;)*) => {$(
        $(#[$cfg])*
        mod $pair {
            #[test]
            fn failures_and_restarts_leave_what_the_reference_has() {
                crate::stateful_proptest::run(crate::stateful_proptest::Kind::$kind, $short, $long);
            }
        }
    )*};
}

machines! {
    sqlite_sled: SqliteSled, crate::stateful_proptest::SHORT, 10_000;
    #[cfg(feature = "redis")]
    sqlite_redis: SqliteRedis, 12, 500;
    #[cfg(feature = "postgres")]
    postgres_sled: PostgresSled, 12, 500;
    #[cfg(all(feature = "postgres", feature = "redis"))]
    postgres_redis: PostgresRedis, 12, 500;
}
