//! What `--text-index on` costs a message, what making the index takes, and how long a search takes that uses it.
//!
//! `cargo bench --bench words` measures SQLite over 100,000 messages in a file in `TMPDIR`; with `GUESTBOOK_TEST_POSTGRES`, as
//! `tests/with-servers cargo bench --all-features --bench words` sets it, the server as well. Off and on take turns in one run. `ROWS=1000000`
//! sets another number. `cargo test --bench words` does the same in small and measures nothing.

mod common;

use common::{guest, now};
use guestbook::core::{
    Content, Filters, Limit, MessageId, NewMessage, Role, SearchText, Ttl, Words,
};
use guestbook::open::{DatabaseUrl, OpenMode, OpenOptions, database, drop_scratch, make_scratch};
use guestbook::storage::database::{Batch, Embedding, Entry, Group, TableSettings, WordsRequest};
use guestbook::storage::{Durability, Stores};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Messages per commit, and commits of each in a round.
const SIZES: [(usize, usize); 3] = [(1, 300), (32, 60), (1024, 6)];
const VOCABULARY: f64 = 20_000.0;

/// What a run does.
struct Form {
    rows: usize,
    rounds: usize,
    searches: usize,
    /// Of the commits of [`SIZES`].
    part: usize,
}

impl Form {
    fn of_this_run() -> Self {
        let is_measured = std::env::args().any(|argument| argument == "--bench");
        let given = std::env::var("ROWS").ok();
        let given = given.and_then(|rows| rows.parse().ok());
        match is_measured {
            true => Self {
                rows: given.unwrap_or(100_000),
                rounds: 5,
                searches: 200,
                part: 1,
            },
            false => Self {
                rows: 500,
                rounds: 1,
                searches: 3,
                part: 60,
            },
        }
    }
}

/// The same texts in every run: 16 words, of which few are frequent, about 90 bytes.
struct Texts(u64, u64);

impl Texts {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn word(number: u64) -> String {
        let syllables = ["ka", "lo", "mi", "nu", "re", "so", "ti", "va"];
        let at = |digit: u32| syllables[(number >> (3 * digit)) as usize % 8];
        let word: String = (0..5).rev().map(at).collect();
        word.trim_start_matches("kaka").to_owned()
    }

    fn entry(&mut self) -> Entry {
        let words = (0..16).map(|_| Self::word((self.next().powi(3) * VOCABULARY) as u64));
        let text = words.collect::<Vec<_>>().join(" ");
        self.1 += 1;
        let content = Content::parse(&format!("{text} n{}", self.1), 65_536).expect("a short text");
        let id = MessageId(Uuid::now_v7());
        Entry {
            message: NewMessage::new(id, guest(self.1), Role::User, content, now()),
            embedding: Embedding::Off,
        }
    }

    fn batch(&mut self, size: usize) -> Arc<Batch> {
        Arc::new(Batch {
            at: now(),
            groups: (0..size).map(|_| Group(vec![self.entry()])).collect(),
            ..Batch::default()
        })
    }
}

async fn open(url: &str, text_index: bool) -> Stores {
    let settings = TableSettings {
        list_ttl: Ttl(Duration::from_secs(86_400)),
        retention: None,
        model: None,
        cache_backend: "none",
        text_index,
    };
    let access = OpenOptions {
        connections: 4,
        durability: Durability::Full,
    };
    let url = DatabaseUrl::parse(url).expect("a URL");
    let opened = database(&url, access, settings, OpenMode::Serve).await;
    opened.expect("a database")
}

/// Microseconds a message, of each commit.
async fn write(database: &Stores, texts: &mut Texts, size: usize, commits: usize) -> Vec<f64> {
    let mut all = Vec::with_capacity(commits);
    for _ in 0..commits {
        let batch = texts.batch(size);
        let since = Instant::now();
        database.chats.record(batch).await.expect("a healthy disk");
        all.push(since.elapsed().as_secs_f64() * 1e6 / size as f64);
    }
    all
}

fn percentile(all: &mut [f64], percent: usize) -> f64 {
    all.sort_by(f64::total_cmp);
    all[(all.len() * percent / 100).min(all.len() - 1)]
}

async fn search(database: &Stores, form: &Form, name: &str, words: impl Fn(usize) -> String) {
    let (mut took, mut hits) = (Vec::new(), 0);
    for n in 0..form.searches {
        let text = SearchText::parse("q", &words(n)).expect("words");
        let asked = WordsRequest {
            words: Words::of("q", &text).expect("words"),
            k: Limit::default(),
            filters: Filters::default(),
            now: now(),
        };
        let since = Instant::now();
        hits += database
            .search
            .search_words(asked)
            .await
            .expect("an index")
            .hits
            .len();
        took.push(since.elapsed().as_secs_f64() * 1e3);
    }
    let (median, late) = (percentile(&mut took, 50), percentile(&mut took, 99));
    println!("  search for {name}: p50 {median:.2} ms, p99 {late:.2} ms, {hits} hits");
}

async fn measure(name: &str, url: &str, form: &Form) {
    println!("{name}, {} messages before", form.rows);
    let mut texts = Texts(0x9E37_79B9_7F4A_7C15, 0);
    let database = open(url, false).await;
    write(&database, &mut texts, 500, form.rows.div_ceil(500)).await;
    database.backend.close().await.expect("a healthy disk");
    let mut costs = vec![[Vec::new(), Vec::new()]; SIZES.len()];
    for round in 0..form.rounds {
        for is_on in [false, true] {
            let since = Instant::now();
            let database = open(url, is_on).await;
            let opened = since.elapsed().as_secs_f64();
            let stats = database.backend.stats().await.expect("a healthy disk");
            let mib = stats.bytes as f64 / 1_048_576.0;
            println!(
                "  round {round}, index {is_on}: opened in {opened:.2} s, {} messages, {mib:.0} MiB",
                stats.entries
            );
            for (at, (size, commits)) in SIZES.into_iter().enumerate() {
                let mut took =
                    write(&database, &mut texts, size, (commits / form.part).max(1)).await;
                costs[at][usize::from(is_on)].push(percentile(&mut took, 50));
            }
            if is_on && round + 1 == form.rounds {
                let last = texts.1;
                search(&database, form, "a number", |n| {
                    format!("n{}", last - n as u64)
                })
                .await;
                search(&database, form, "a frequent word", |n| {
                    Texts::word(n as u64)
                })
                .await;
                search(&database, form, "two words", |n| {
                    [Texts::word(n as u64), Texts::word(300 + n as u64)].join(" ")
                })
                .await;
            }
            database.backend.close().await.expect("a healthy disk");
        }
    }
    for ((size, _), [off, on]) in SIZES.into_iter().zip(&mut costs) {
        let each = off
            .iter()
            .zip(on.iter())
            .map(|(off, on)| format!("{off:.1}→{on:.1}"));
        let each = each.collect::<Vec<_>>().join(" ");
        let (off, on) = (percentile(off, 50), percentile(on, 50));
        let (more, ratio) = (on - off, on / off);
        println!(
            "  {size} a commit: {off:.1} µs a message without, {on:.1} with: {more:+.1} µs, ×{ratio:.2} ({each})"
        );
    }
}

#[tokio::main]
async fn main() {
    let form = Form::of_this_run();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("guestbook.db");
    measure("SQLite", &format!("sqlite:{}", file.display()), &form).await;
    let Ok(server) = std::env::var("GUESTBOOK_TEST_POSTGRES") else {
        return;
    };
    let url = make_scratch(&server).await.expect("a server of this build");
    measure("PostgreSQL", &url, &form).await;
    drop_scratch(&server).await.expect("the same server");
}
