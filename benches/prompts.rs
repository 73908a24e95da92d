//! Lookups of the prompt cache by 64 clients at once, beside a bare rusqlite that answers the same from the same file; and what a
//! stream of lookups and answers costs the messages that are stored meanwhile.
//!
//! Clients that never pause show how many lookups there can be: each of 64 waits for 63 others then, however fast one is. Clients
//! that pause show how long a lookup takes.
//!
//! `cargo bench --bench prompts`; without `--bench`, as in the tests, everything in small.

#[path = "prompts/beside.rs"]
mod beside;
mod common;

use common::now;
use guestbook::core::{Content, PromptKey, PromptScope, PromptSetting, Ttl, content_hash};
use guestbook::embed::Embedder;
use guestbook::embed::table::StaticTable;
use guestbook::sqlite::SqliteDatabase;
use guestbook::storage::database::{NewCacheEntry, TableSettings};
use rusqlite::{Connection, OpenFlags, params};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CLIENTS: usize = 64;
/// What clients do between two lookups, where they are not to find out what the processors can do at most.
const PAUSE: Duration = Duration::from_millis(2);
/// Bytes of an answer: some paragraphs.
const RESPONSE: usize = 1200;
const SELECT: &str =
    "SELECT prompt_text, response_text, hits FROM prompt_cache WHERE id = ?1 AND expires_at > ?2";

/// How much there is to do.
#[derive(Clone, Copy)]
struct Size {
    answers: u64,
    lookups: usize,
    rounds: usize,
    span: Duration,
    /// What a client waits between two lookups.
    pause: Duration,
}

fn main() {
    let size = match std::env::args().any(|argument| argument == "--bench") {
        true => Size {
            answers: 100_000,
            lookups: 2_000,
            rounds: 5,
            span: Duration::from_secs(3),
            pause: Duration::ZERO,
        },
        false => Size {
            answers: 100,
            lookups: 5,
            rounds: 1,
            span: Duration::from_millis(50),
            pause: Duration::ZERO,
        },
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("guestbook.db");
    let settings = TableSettings {
        list_ttl: Ttl(Duration::from_secs(86_400)),
        retention: None,
        model: Some(StaticTable::new().model().clone()),
        cache_backend: "none",
        text_index: false,
    };
    let database = Arc::new(SqliteDatabase::open(&path, settings).expect("a new database"));
    runtime.block_on(fill(&database, size.answers));
    println!(
        "{} answers of {RESPONSE} bytes, {CLIENTS} clients",
        size.answers
    );
    for round in 1..=size.rounds {
        let all = runtime.block_on(lookups(&database, size));
        let popular = Size {
            answers: size.answers / 10,
            ..size
        };
        runtime.block_on(lookups(&database, popular)); // so that each was read once
        let popular = runtime.block_on(lookups(&database, popular));
        let paced = runtime.block_on(lookups(
            &database,
            Size {
                pause: PAUSE,
                lookups: size.lookups / 4,
                ..size
            },
        ));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let as_many = Size {
            lookups: size.lookups * CLIENTS / processors,
            ..size
        };
        let all_processors = bare(&path, as_many, processors);
        let (bare, one) = (bare(&path, size, CLIENTS), bare(&path, size, 1));
        println!(
            "round {round}: {}",
            all.shown("guestbook, all equally often")
        );
        println!(
            "round {round}: {}",
            paced.shown("guestbook, all, after a pause")
        );
        println!(
            "round {round}: {}",
            popular.shown("guestbook, a tenth of them")
        );
        println!(
            "round {round}: {}",
            bare.shown("bare rusqlite, a connection each")
        );
        println!("round {round}: {}", one.shown("bare rusqlite, 1 client"));
        println!(
            "round {round}: {}",
            all_processors.shown("bare rusqlite, 1 to a processor")
        );
    }
    for round in 1..=size.rounds {
        runtime.block_on(beside::round(round, &database, size));
    }
}

fn key(number: u64) -> PromptKey {
    let setting = PromptSetting {
        scope: PromptScope::Tenant("acme".into()),
        model: "model".into(),
        temperature: Some(0.2),
        max_tokens: Some(512),
        context_hash: content_hash("you are helpful"),
    };
    PromptKey::new(
        setting,
        &format!("Could you tell me where my order {number} is?"),
    )
}

fn answer(number: u64) -> NewCacheEntry {
    let text = |text: &str| Content::parse(text, 65_536).expect("a short text");
    NewCacheEntry {
        key: key(number),
        prompt: text(&format!("Could you tell me where my order {number} is?")),
        response: text(&format!(
            "{number}: {}",
            "it is on its way. ".repeat(RESPONSE / 18)
        )),
        vector: None,
        generation_ms: 900.0,
        input_tokens: 100,
        output_tokens: 200,
        expires_at: now().plus(Duration::from_secs(86_400)),
    }
}

async fn fill(database: &SqliteDatabase, count: u64) {
    use guestbook::storage::database::Prompts;
    for first in (0..count).step_by(500) {
        let answers = (first..count.min(first + 500)).map(answer).collect();
        database
            .prompts_put(answers, now())
            .await
            .expect("a healthy store");
    }
}

/// Times of lookups, sorted, and how long all of them took.
struct Times(Vec<Duration>, Duration);

impl Times {
    fn of(parts: Vec<Vec<Duration>>, took: Duration) -> Self {
        let mut times = parts.concat();
        times.sort_unstable();
        Self(times, took)
    }

    fn shown(&self, name: &str) -> String {
        let Self(times, took) = self;
        let at =
            |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        let rate = times.len() as f64 / took.as_secs_f64();
        format!(
            "{name:<33} median {:.3} ms, p99 {:.3} ms, {rate:.0}/s",
            at(0.5),
            at(0.99)
        )
    }
}

/// The number that a client asks for next: spread over all of them, the same in every run.
fn next(state: &mut u64, count: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % count
}

async fn lookups(database: &Arc<SqliteDatabase>, size: Size) -> Times {
    use guestbook::storage::database::Prompts;
    let began = Instant::now();
    let client = |client: usize| {
        let database = Arc::clone(database);
        tokio::spawn(async move {
            let mut state = client as u64 + 1;
            let mut times = Vec::with_capacity(size.lookups);
            for _ in 0..size.lookups {
                let key = key(next(&mut state, size.answers));
                let began = Instant::now();
                let found = database
                    .prompts_find(&[key], now())
                    .await
                    .expect("a healthy store");
                times.push(began.elapsed());
                assert!(found[0].is_some());
                if !size.pause.is_zero() {
                    tokio::time::sleep(size.pause).await;
                }
            }
            times
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let mut parts = Vec::new();
    for client in clients {
        parts.push(client.await.expect("a client that goes on"));
    }
    Times::of(parts, began.elapsed())
}

/// By hand: a thread and a connection for each client, one prepared SELECT by the primary key.
fn bare(path: &Path, size: Size, clients: usize) -> Times {
    let began = Instant::now();
    let client = |client: usize| {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).expect("the same file");
        let mut select = connection.prepare(SELECT).expect("the same table");
        let (mut state, at) = (client as u64 + 1, now().stored());
        let mut times = Vec::with_capacity(size.lookups);
        for _ in 0..size.lookups {
            let id = key(next(&mut state, size.answers)).id().to_string();
            let began = Instant::now();
            let read = |row: &rusqlite::Row<'_>| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, u64>(2)?,
                ))
            };
            let found = select.query_row(params![id, at], read).expect("an answer");
            times.push(began.elapsed());
            assert!(!found.1.is_empty());
        }
        times
    };
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|number| scope.spawn(move || client(number)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a client that goes on"))
            .collect()
    });
    Times::of(parts, began.elapsed())
}
