//! A search over everything, on the real service over a SQLite file: how fast the index is made, what it takes, how long a search takes
//! and what it finds beside a plain scan in f64, over the vectors as they are stored and before they were rounded; and what
//! following costs the write path.
//!
//! `cargo bench --bench everything` measures a million messages and takes some minutes; `cargo test --bench everything` does the same in
//! small and measures nothing. `ROWS=200000` sets another number. Files are made in `TMPDIR`.

mod common;

use common::guest;
use guestbook::core::{
    Content, Filters, Limit, MessageId, ModelId, NewMessage, Role, SystemClock, Timestamp, Ttl,
    Vector,
};
use guestbook::embed::Embedder;
use guestbook::embed::table::StaticTable;
use guestbook::service::{GlobalQuery, IndexMode, IndexState, Service, ServiceParts, Settings};
use guestbook::sqlite::SqliteDatabase;
use guestbook::storage::Stores;
use guestbook::storage::database::{Batch, Embedding, Entry, Group, TableSettings};
use guestbook::storage::memory::MemoryLists;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

const DIMENSION: usize = 256;
const K_WANTED: usize = 10;
const PER_BATCH: u64 = 1024;
const LIST_TTL: Duration = Duration::from_secs(86_400);

/// What a run does.
struct Form {
    rows: u64,
    searches: usize,
    judged: usize,
    written: usize,
    rounds: usize,
}

impl Form {
    fn of_this_run() -> Self {
        let is_measured = std::env::args().any(|argument| argument == "--bench");
        let given = std::env::var("ROWS")
            .ok()
            .and_then(|rows| rows.parse().ok());
        match is_measured {
            true => Self {
                rows: given.unwrap_or(1_000_000),
                searches: 500,
                judged: 20,
                written: 40_000,
                rounds: 5,
            },
            false => Self {
                rows: 3_000,
                searches: 5,
                judged: 2,
                written: 500,
                rounds: 1,
            },
        }
    }
}

/// The same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            sum += (self.0 >> 40) as f32 / (1_u64 << 24) as f32;
        }
        sum - 2.0
    }

    /// The components of the vector of this number, before they are rounded.
    fn vector(number: u64) -> Vec<f32> {
        let mut numbers = Self((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        (0..DIMENSION).map(|_| numbers.next()).collect()
    }
}

fn quantised(components: &[f32]) -> Vector {
    Vector::quantise(components, DIMENSION).expect("finite numbers")
}

fn now() -> Timestamp {
    guestbook::core::Clock::now(&SystemClock)
}

fn message(number: u64) -> NewMessage {
    let content =
        Content::parse(&format!("message {number} of a chat"), 100).expect("a short text");
    let id = MessageId(Uuid::now_v7());
    NewMessage::new(id, guest(number), Role::User, content, now())
}

fn database(folder: &Path, model: &StaticTable) -> Stores {
    let settings = TableSettings {
        list_ttl: Ttl(LIST_TTL),
        retention: None,
        model: Some(model.model().clone()),
        cache_backend: "memory",
        text_index: false,
    };
    let database = SqliteDatabase::open(&folder.join("guestbook.db"), settings);
    Stores::of(Arc::new(database.expect("a new database")))
}

fn service(database: Stores, model: &Arc<StaticTable>, indexing: IndexMode) -> Service {
    let parts = ServiceParts {
        database,
        lists: Arc::new(MemoryLists::new()),
        embedder: Some(Arc::clone(model) as Arc<dyn Embedder>),
        clock: Arc::new(SystemClock),
    };
    let settings = Settings {
        indexing,
        ..Settings::default()
    };
    Service::start(parts, settings)
}

/// Stores messages so long ago that their lists have ended: or the service would make every list again beside the index, and
/// both would be measured as one.
async fn fill(database: &Stores, rows: u64) {
    let at = Timestamp::from_ms(now().ms() - 2 * LIST_TTL.as_millis() as i64);
    for from in (0..rows).step_by(PER_BATCH as usize) {
        let group = |number| {
            let vector = quantised(&Numbers::vector(number));
            Group(vec![Entry {
                message: message(number),
                embedding: Embedding::Vector(vector),
            }])
        };
        let batch = Batch {
            at,
            groups: (from..rows.min(from + PER_BATCH)).map(group).collect(),
            ..Batch::default()
        };
        database
            .chats
            .record(Arc::new(batch))
            .await
            .expect("a healthy disk");
    }
    while database
        .outbox
        .lapse(now(), 10_000)
        .await
        .expect("a healthy disk")
        > 0
    {}
}

/// Resident memory of this process in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Reads everything on each of its threads, so that what the database keeps in memory is not taken for the index.
async fn warm(database: &Stores, model: &StaticTable) {
    tokio::join!(read_all(database, model), read_all(database, model));
}

async fn read_all(database: &Stores, model: &StaticTable) {
    let mut after = None;
    loop {
        let page = database.corpus.indexable(model.model(), after, 2000).await;
        match page.expect("a healthy disk").next {
            Some(next) => after = Some(next),
            None => return,
        }
    }
}

/// Asks for the nearest of a number's vector.
fn asked(model: &ModelId, number: usize) -> GlobalQuery {
    GlobalQuery {
        model: model.clone(),
        vector: quantised(&sought(number)),
        k: Limit::new("k", K_WANTED).expect("a small number"),
        filters: Filters::default(),
    }
}

fn sought(number: usize) -> Vec<f32> {
    Numbers::vector(u64::MAX / 2 + number as u64)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Whether a plain scan sees vectors as the tables have them, or as they were before.
#[derive(Clone, Copy, Debug)]
enum Seen {
    Stored,
    Unrounded,
}

/// Contents of the nearest by a plain scan in f64, for each of the sought.
fn plain(rows: u64, judged: usize, seen: Seen) -> Vec<Vec<String>> {
    let seen = |components: Vec<f32>| match seen {
        Seen::Unrounded => components,
        Seen::Stored => {
            let vector = quantised(&components);
            vector.components().iter().copied().map(f32::from).collect()
        }
    };
    let wide = |components: Vec<f32>| {
        let square: f64 = components.iter().map(|&x| f64::from(x).powi(2)).sum();
        let length = square.sqrt();
        components
            .into_iter()
            .map(|x| f64::from(x) / length)
            .collect::<Vec<_>>()
    };
    let sought: Vec<_> = (0..judged)
        .map(|number| wide(seen(sought(number))))
        .collect();
    let mut scores = vec![Vec::with_capacity(rows as usize); judged];
    for number in 0..rows {
        let row = wide(seen(Numbers::vector(number)));
        for (sought, scores) in sought.iter().zip(&mut scores) {
            let score: f64 = sought.iter().zip(&row).map(|(a, b)| a * b).sum();
            scores.push((score, number));
        }
    }
    let nearest = |mut scores: Vec<(f64, u64)>| {
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        let best = scores.iter().take(K_WANTED);
        best.map(|(_, number)| format!("message {number} of a chat"))
            .collect()
    };
    scores.into_iter().map(nearest).collect()
}

async fn searching(form: &Form) {
    let folder = TempDir::new().expect("a temporary folder");
    let model = Arc::new(StaticTable::new());
    let database = database(folder.path(), &model);
    fill(&database, form.rows).await;
    warm(&database, &model).await;
    let before = resident();
    let began = Instant::now();
    let service = service(database.clone(), &model, IndexMode::On);
    let model = model.model();
    while service.index_status().state != IndexState::Ready {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (took, grown) = (began.elapsed(), resident() - before);
    let rows = form.rows as f64;
    assert_eq!(service.index_status().searched, form.rows);
    println!(
        "figure: index of {rows} messages made in {took:.2?}, {:.0} a second; {grown:.0} MiB, {:.0} MiB a million",
        rows / took.as_secs_f64(),
        grown / rows * 1e6
    );
    let mut times = Vec::new();
    for number in 0..form.searches {
        let asked = asked(model, number);
        let began = Instant::now();
        let found = service.search_everything(&asked).await.expect("an index");
        times.push(began.elapsed());
        assert_eq!(found.findings.hits.len(), K_WANTED);
    }
    let total: Duration = times.iter().sum();
    times.sort_unstable();
    println!(
        "figure: one client: {:.1} searches a second, p50 {:.1?}, p99 {:.1?}, max {:.1?}",
        times.len() as f64 / total.as_secs_f64(),
        percentile(&times, 50),
        percentile(&times, 99),
        percentile(&times, 100)
    );
    together(&service, model, form).await;
    for seen in [Seen::Stored, Seen::Unrounded] {
        recall(&service, model, form, seen).await;
    }
    service.stop().await.expect("a clean stop");
}

async fn recall(service: &Service, model: &ModelId, form: &Form, seen: Seen) {
    let mut common = 0;
    for (number, nearest) in plain(form.rows, form.judged, seen).iter().enumerate() {
        let asked = asked(model, number);
        let found = service.search_everything(&asked).await.expect("an index");
        let hits = found.findings.hits.iter();
        common += hits
            .filter(|hit| nearest.iter().any(|text| text == hit.content.as_str()))
            .count();
    }
    let share = common as f64 / (form.judged * K_WANTED) as f64;
    println!("figure: recall@{K_WANTED} beside a scan in f64, vectors as {seen:?}: {share:.3}");
}

/// Four clients at once.
async fn together(service: &Service, model: &ModelId, form: &Form) {
    let began = Instant::now();
    let each = form.searches.div_ceil(8);
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (service, model) = (service.clone(), model.clone());
            tokio::spawn(async move {
                for number in 0..each {
                    let asked = asked(&model, client * each + number);
                    service.search_everything(&asked).await.expect("an index");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no panic");
    }
    let rate = (4 * each) as f64 / began.elapsed().as_secs_f64();
    println!("figure: four clients: {rate:.1} searches a second");
}

/// Messages a second through the service, 64 clients, with an index and without, in turns.
async fn writing(form: &Form) {
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..form.rounds * 2 {
        let is_on = (round + round / 2) % 2; // on and off take turns in being first
        let indexing = [IndexMode::Off, IndexMode::On][is_on];
        let folder = TempDir::new().expect("a temporary folder");
        let model = Arc::new(StaticTable::new());
        let service = service(database(folder.path(), &model), &model, indexing);
        let began = Instant::now();
        let clients: Vec<_> = (0..64)
            .map(|client| {
                let (service, each) = (service.clone(), form.written.div_ceil(64));
                tokio::spawn(async move {
                    for number in 0..each {
                        let message = message((client * each + number) as u64);
                        service.store(vec![vec![message]]).await.expect("room");
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.expect("no panic");
        }
        rates[is_on].push(form.written as f64 / began.elapsed().as_secs_f64());
        service.stop().await.expect("a clean stop");
    }
    let [mut off, mut on] = rates;
    let mut ratios: Vec<_> = on.iter().zip(&off).map(|(on, off)| on / off).collect();
    [&mut off, &mut on, &mut ratios]
        .into_iter()
        .for_each(|all| all.sort_by(f64::total_cmp));
    let of = |all: &[f64]| (all[0], all[all.len() / 2], all[all.len() - 1]);
    println!(
        "figure: messages a second (least, median, most): without {:.0?}, with {:.0?}; ratio {:.3?}",
        of(&off),
        of(&on),
        of(&ratios)
    );
}

fn main() {
    let form = Form::of_this_run();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        searching(&form).await;
        writing(&form).await;
    });
}
