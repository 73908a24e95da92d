//! Searching within one guest's chat of 1,000 messages, in an SQLite file that holds 100 such chats: queries per second, the median
//! and the 99th percentile, through the storage trait; and the ten best of a plain scan in double precision over vectors as the
//! model gave them, unrounded and held in memory: its time, and how many of its ten are found (recall).
//!
//! The vectors are made up: each message is of one of 50 topics and some way off it, as a topic's questions are.
//!
//! `TMPDIR=. cargo bench --bench search` measures with the file in the current folder. As a test it is run in small.

mod common;

use common::{TEXT, guest, now};
use guestbook::core::{
    Content, ContextBudget, Limit, MessageId, ModelId, NewMessage, Role, SearchText, Ttl, Vector,
    Words,
};
use guestbook::sqlite::SqliteDatabase;
use guestbook::storage::Chats;
use guestbook::storage::database::{
    Batch, ContextRequest, Embedding, Entry, Group, Search, SearchQuery, SearchRequest,
    SearchScope, TableSettings,
};
use hdrhistogram::Histogram;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use uuid::Uuid;

const DIMENSION: usize = 256;
const TOPICS: usize = 50;
const MESSAGES: usize = 1000;
const WANTED: usize = 10;

/// How much is measured.
struct Size {
    chats: u64,
    queries: usize,
}

fn main() {
    // `cargo bench` says so; `cargo test` does not.
    let size = match std::env::args().any(|argument| argument == "--bench") {
        true => Size {
            chats: 100,
            queries: 5000,
        },
        false => Size {
            chats: 2,
            queries: 20,
        },
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let settings = TableSettings {
        list_ttl: Ttl(Duration::from_secs(86_400)),
        retention: None,
        model: Some(model()),
        cache_backend: "sled",
        text_index: false,
    };
    let path = folder.path().join("guestbook.db");
    let database = SqliteDatabase::open(&path, settings).expect("a new database");
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let topics: Vec<_> = (0..TOPICS).map(|_| unit(dice.direction())).collect();
    let chats: Vec<_> = (0..size.chats)
        .map(|number| fill(&runtime, &database, number, &topics, &mut dice))
        .collect();
    let questions: Vec<_> = (0..size.queries)
        .map(|n| (n % chats.len(), near(&topics[n % TOPICS], &mut dice)))
        .collect();

    println!("{} chats of {MESSAGES} messages, k = {WANTED}", size.chats);
    let mut found = Vec::new();
    timed("by meaning", &questions, |(chat, sought)| {
        found.push(sequences(&runtime, &database, *chat, meaning(sought)));
    });
    let mut expected = Vec::new();
    timed("plain f64 scan", &questions, |(chat, sought)| {
        expected.push(plain_scan(&chats[*chat], sought));
    });
    let words = SearchText::parse("q", "order #7").and_then(|text| Words::of("q", &text));
    let words = words.expect("two words");
    timed("by words, one hit", &questions, |(chat, _)| {
        black_box(sequences(
            &runtime,
            &database,
            *chat,
            SearchQuery::Text(words.clone()),
        ));
    });
    timed("context with a question", &questions, |(chat, sought)| {
        let asked = ContextRequest {
            guest: guest(*chat as u64),
            budget: ContextBudget::new(2000, Some(ContextBudget::RECENT)).expect("a budget"),
            about: Some((model(), quantised(sought))),
            now: now(),
        };
        black_box(
            runtime
                .block_on(database.context(asked))
                .expect("a healthy database"),
        );
    });
    let recall = recall(&found, &expected);
    println!("recall@{WANTED} by meaning against the plain f64 scan: {recall:.4}");
    assert!(
        recall > 0.95,
        "rounding to a byte must not change what is found"
    );
}

/// Does something for each question, and prints how long it took.
fn timed<Q>(name: &str, questions: &[Q], mut ask: impl FnMut(&Q)) {
    let mut nanoseconds = Histogram::<u64>::new(3).expect("three digits");
    let began = Instant::now();
    for question in questions {
        let began = Instant::now();
        ask(question);
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        nanoseconds.record(took).expect("a histogram that grows");
    }
    let per_second = questions.len() as f64 / began.elapsed().as_secs_f64();
    let milliseconds = |quantile| nanoseconds.value_at_quantile(quantile) as f64 / 1e6;
    println!(
        "{name:<26} {per_second:>9.0}/s   p50 {:>7.3} ms   p99 {:>7.3} ms",
        milliseconds(0.5),
        milliseconds(0.99)
    );
}

/// Numbers that look random and are the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The sum of four throws, in -2..2: near enough to a bell.
    fn bell(&mut self) -> f64 {
        let mut throw = || (self.next() >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
        throw() + throw() + throw() + throw()
    }

    fn direction(&mut self) -> Vec<f64> {
        (0..DIMENSION).map(|_| self.bell()).collect()
    }
}

fn unit(mut vector: Vec<f64>) -> Vec<f64> {
    let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

/// Somewhere around a topic, at a cosine of about 0.7.
fn near(topic: &[f64], dice: &mut Dice) -> Vec<f64> {
    let off = unit(dice.direction());
    unit(topic.iter().zip(off).map(|(on, off)| on + off).collect())
}

fn quantised(vector: &[f64]) -> Vector {
    let components: Vec<_> = vector.iter().map(|&x| x as f32).collect();
    Vector::quantise(&components, DIMENSION).expect("a unit vector")
}

fn model() -> ModelId {
    ModelId::new("made-up", DIMENSION, &[7; 32])
}

fn meaning(sought: &[f64]) -> SearchQuery {
    SearchQuery::Meaning {
        model: model(),
        vector: quantised(sought),
    }
}

/// A guest says a thousand things; their vectors, unrounded.
fn fill(
    runtime: &Runtime,
    database: &SqliteDatabase,
    number: u64,
    topics: &[Vec<f64>],
    dice: &mut Dice,
) -> Vec<Vec<f64>> {
    let vectors: Vec<_> = (0..MESSAGES)
        .map(|n| near(&topics[n % TOPICS], dice))
        .collect();
    let entry = |(n, vector): (usize, &Vec<f64>)| {
        let role = if n % 2 == 0 {
            Role::User
        } else {
            Role::Assistant
        };
        let content = Content::parse(&format!("{TEXT} #{n}"), 65_536).expect("a short text");
        let id = MessageId(Uuid::now_v7());
        Entry {
            message: NewMessage::new(id, guest(number), role, content, now()),
            embedding: Embedding::Vector(quantised(vector)),
        }
    };
    let entries = vectors.iter().enumerate().map(entry).collect();
    let batch = Arc::new(Batch {
        at: now(),
        groups: vec![Group(entries)],
        ..Batch::default()
    });
    let recorded = runtime.block_on(database.record(batch));
    recorded.expect("messages without a fault");
    vectors
}

fn sequences(
    runtime: &Runtime,
    database: &SqliteDatabase,
    chat: usize,
    sought: SearchQuery,
) -> Vec<u64> {
    let asked = SearchRequest {
        scope: SearchScope::Guest(guest(chat as u64)),
        sought,
        k: Limit::new("k", WANTED).expect("ten"),
        now: now(),
    };
    let found = runtime.block_on(database.search(asked));
    let found = found.expect("a healthy database");
    found.hits.iter().map(|hit| hit.sequence).collect()
}

/// The ten best by cosine, in double precision, with nothing clever.
fn plain_scan(vectors: &[Vec<f64>], sought: &[f64]) -> Vec<u64> {
    let cosine = |vector: &Vec<f64>| vector.iter().zip(sought).map(|(x, y)| x * y).sum::<f64>();
    let mut scored: Vec<_> = (0..)
        .zip(vectors)
        .map(|(n, vector)| (cosine(vector), n))
        .collect();
    scored.sort_by(|one, other| other.0.total_cmp(&one.0));
    scored.into_iter().take(WANTED).map(|(_, n)| n).collect()
}

fn recall(found: &[Vec<u64>], expected: &[Vec<u64>]) -> f64 {
    let pairs = found.iter().zip(expected);
    let hits: usize = pairs
        .map(|(found, expected)| expected.iter().filter(|it| found.contains(it)).count())
        .sum();
    hits as f64 / (expected.len() * WANTED) as f64
}
