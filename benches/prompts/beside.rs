//! Messages that are stored while others look up answers, keep some, and count what they have found.

use super::{Size, answer, key, next};
use crate::common::{batch, now};
use guestbook::embed::table::StaticTable;
use guestbook::sqlite::SqliteDatabase;
use guestbook::storage::Chats;
use guestbook::storage::database::{CacheHits, LookupTotals, Prompts};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Messages alone and beside each, in turns.
pub(crate) async fn round(round: usize, database: &Arc<SqliteDatabase>, size: Size) {
    for others in [Others::All, Others::Keep, Others::LookUp, Others::Count] {
        let [alone, beside] = messages(database, size, others, round.is_multiple_of(2)).await;
        println!(
            "round {round}: messages alone {}; beside those who {}: {}, {:.3}",
            alone.shown(),
            others.shown(),
            beside.shown(),
            beside.rate / alone.rate
        );
    }
}

/// What others do while messages are stored, at a steady rate.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Others {
    All,
    /// 200 answers a second, as few together as a service would.
    Keep,
    /// 2,000 lookups a second.
    LookUp,
    /// Once a second, 2,000 hits of as many answers.
    Count,
}

impl Others {
    fn shown(self) -> &'static str {
        match self {
            Self::All => "do all of it",
            Self::Keep => "keep 200 answers a second",
            Self::LookUp => "look up 2,000 a second",
            Self::Count => "count 2,000 hits a second",
        }
    }

    fn include(self, part: Self) -> bool {
        self == Self::All || self == part
    }
}

/// How fast messages were stored, and the time of the writing thread that went by for each: of theirs and of what was done beside.
struct Stored {
    rate: f64,
    writer: Duration,
}

impl Stored {
    fn shown(&self) -> String {
        let micros = self.writer.as_secs_f64() * 1e6;
        format!("{:.0}/s ({micros:.1} µs of the writing thread)", self.rate)
    }
}

/// The time that the writing thread has run so far.
fn writer_time() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let time = |folder: std::path::PathBuf| {
        let name = std::fs::read_to_string(folder.join("comm")).ok()?;
        let time = std::fs::read_to_string(folder.join("schedstat")).ok()?;
        let nanos = time.split(' ').next()?.parse().ok()?;
        name.starts_with("sqlite-writer")
            .then(|| Duration::from_nanos(nanos))
    };
    threads.flatten().filter_map(|it| time(it.path())).sum()
}

/// Messages in batches of 64, alone and beside others.
async fn messages(
    database: &Arc<SqliteDatabase>,
    size: Size,
    others: Others,
    beside_first: bool,
) -> [Stored; 2] {
    let model = StaticTable::new();
    let beside = async || {
        let stop = Arc::new(AtomicBool::new(false));
        let work = work(
            others,
            Arc::clone(database),
            Arc::clone(&stop),
            size.answers,
        );
        let work = tokio::spawn(work);
        let stored = stored(database, &model, size.span).await;
        stop.store(true, Ordering::Relaxed);
        work.await.expect("others that go on");
        stored
    };
    match beside_first {
        true => {
            let beside = beside().await;
            [stored(database, &model, size.span).await, beside]
        }
        false => [stored(database, &model, size.span).await, beside().await],
    }
}

async fn stored(database: &Arc<SqliteDatabase>, model: &StaticTable, span: Duration) -> Stored {
    let (began, before, mut count) = (Instant::now(), writer_time(), 0);
    while began.elapsed() < span {
        database
            .record(batch(model, 64))
            .await
            .expect("a healthy store");
        count += 64;
    }
    Stored {
        rate: f64::from(count) / began.elapsed().as_secs_f64(),
        writer: (writer_time() - before) / count,
    }
}

/// The counts of a second are written once a second, as a service does.
async fn work(others: Others, database: Arc<SqliteDatabase>, stop: Arc<AtomicBool>, count: u64) {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 40);
    let mut beats = tokio::time::interval(Duration::from_millis(20));
    let mut state = 7;
    let (mut given, mut seconds) = (Vec::new(), 1);
    while !stop.load(Ordering::Relaxed) {
        beats.tick().await;
        if others.include(Others::Keep) {
            let number = || NEXT.fetch_add(1, Ordering::Relaxed);
            let answers = (0..4).map(|_| answer(number())).collect();
            let put = database.prompts_put(answers, now()).await;
            put.expect("a healthy store");
        }
        for _ in 0..40 {
            let key = key(next(&mut state, count));
            // As a service says it: to ten minutes, so that few move in the order of use.
            let moves = given.len().is_multiple_of(10);
            given.push(CacheHits {
                id: key.id(),
                hits: 1,
                last: now().plus(Duration::from_secs(600 * u64::from(moves) * seconds)),
            });
            if others.include(Others::LookUp) {
                let found = database.prompts_find(&[key], now()).await;
                found.expect("a healthy store");
            }
        }
        if given.len() >= 2_000 {
            let given = std::mem::take(&mut given);
            seconds += 1;
            if others.include(Others::Count) {
                deltas(&database, given).await;
            }
        }
    }
}

async fn deltas(database: &SqliteDatabase, given: Vec<CacheHits>) {
    for given in given.chunks(256) {
        let deltas = LookupTotals {
            hits: given.len() as u64,
            given: given.to_vec(),
            ..LookupTotals::default()
        };
        let counted = database.lookup_totals(deltas, now()).await;
        counted.expect("a healthy store");
    }
}
