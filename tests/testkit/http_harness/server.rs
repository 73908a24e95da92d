//! A server in this process, on a port of its own, over stores of its own.

use super::client::Client;
use guestbook::core::{Clock, ManualClock, Timestamp, Ttl};
use guestbook::embed::Embedder;
use guestbook::embed::openai::OpenAiOptions;
use guestbook::embedder::{EmbedderSpec, open};
use guestbook::http::{HttpServer, HttpSettings, Listener, ServerAddress};
use guestbook::service::verify::{VerifyMode, VerifyScope};
use guestbook::service::{IndexMode, Service, ServiceParts, Settings};
use guestbook::sled::SledLists;
use guestbook::sqlite::SqliteDatabase;
use guestbook::storage::database::TableSettings;
use guestbook::storage::memory::{MemoryDatabase, MemoryLists};
use guestbook::storage::{ListCache, Stores};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// How long the lists of the laws live.
pub const TTL: Duration = Duration::from_secs(86_400);
const DEADLINE: Duration = Duration::from_secs(30);

/// A pair of stores.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pair {
    Memory,
    SqliteSled,
}

/// What a law starts from.
#[derive(Debug)]
pub struct Plan {
    pub http: HttpSettings,
    pub embedder: Option<Arc<dyn Embedder>>,
    pub indexing: IndexMode,
    /// Whether words are indexed.
    pub text_index: bool,
}

impl Default for Plan {
    fn default() -> Self {
        let spec = EmbedderSpec::Static;
        Self {
            http: HttpSettings::default(),
            embedder: open(&spec, OpenAiOptions::default()).unwrap(),
            indexing: IndexMode::default(),
            text_index: false,
        }
    }
}

/// A running server with everything behind it at hand.
#[derive(Debug)]
pub struct Site {
    pub client: Client,
    pub service: Service,
    pub clock: Arc<ManualClock>,
    pub pair: Pair,
    server: HttpServer,
    folder: TempDir,
    damaged: AtomicBool,
}

impl Site {
    /// A new server over empty stores.
    pub async fn open(pair: Pair, plan: Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(noon()));
        Self::start(pair, plan, folder, clock)
    }

    /// Stops the server and starts another one over the same files, at the same time of day.
    pub async fn reopen(self, plan: Plan) -> Self {
        assert_eq!(self.pair, Pair::SqliteSled, "memory does not last");
        self.server.stop().await;
        self.service.stop().await.unwrap();
        Self::start(self.pair, plan, self.folder, self.clock)
    }

    fn start(pair: Pair, plan: Plan, folder: TempDir, clock: Arc<ManualClock>) -> Self {
        let (database, lists) = stores(pair, folder.path(), &plan);
        let parts = ServiceParts {
            database,
            lists,
            embedder: plan.embedder,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
        };
        let service = Service::start(parts, settings(plan.indexing));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let server = HttpServer::start([listener], service.clone(), plan.http).unwrap();
        let [ServerAddress::Tcp(address)] = *server.addresses() else {
            panic!("{server:?}");
        };
        Self {
            client: Client::new(address),
            service,
            clock,
            pair,
            server,
            folder,
            damaged: AtomicBool::new(false),
        }
    }

    /// Says that this law breaks something on purpose, so that no verification is expected to pass at its end.
    pub fn expect_damage(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// Ends a law: whatever it did, every store must agree with every other one.
    pub async fn finish(self) {
        if !self.damaged.load(Ordering::Relaxed) {
            let report = self
                .service
                .verify(&VerifyScope::All, VerifyMode::Look)
                .await;
            let report = report.unwrap();
            assert!(report.ok, "{report:#?}");
        }
        self.server.stop().await;
        let stopped = self.service.stop().await;
        if !self.damaged.load(Ordering::Relaxed) {
            stopped.unwrap();
        }
    }

    /// The names of the two stores, lists first, as `stored_in` has them.
    pub fn stores(&self) -> [&'static str; 2] {
        match self.pair {
            Pair::Memory => ["memory", "memory"],
            Pair::SqliteSled => ["sled", "sqlite"],
        }
    }

    /// The SQLite file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("guestbook.db")
    }
}

fn stores(pair: Pair, folder: &Path, plan: &Plan) -> (Stores, Arc<dyn ListCache>) {
    let embedder = plan.embedder.as_ref();
    let settings = |cache_backend| TableSettings {
        list_ttl: Ttl(TTL),
        retention: None,
        model: embedder.map(|embedder| embedder.model().clone()),
        cache_backend,
        text_index: plan.text_index,
    };
    match pair {
        Pair::Memory => (
            Stores::of(Arc::new(MemoryDatabase::new(settings("memory")))),
            Arc::new(MemoryLists::new()),
        ),
        Pair::SqliteSled => (
            Stores::of(Arc::new(
                SqliteDatabase::open(&folder.join("guestbook.db"), settings("sled")).unwrap(),
            )),
            Arc::new(SledLists::open(&folder.join("lists")).unwrap()),
        ),
    }
}

/// Where the clock of a new server stands.
pub fn noon() -> Timestamp {
    Timestamp::parse("2026-01-15T12:00:00Z").unwrap()
}

/// Waits until `look` gives something, and fails when that takes too long.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As the binary has them, but for the patience of verify: here nothing else goes on while it looks.
fn settings(indexing: IndexMode) -> Settings {
    Settings {
        indexing,
        verify_wait: std::time::Duration::from_millis(20),
        ..Settings::default()
    }
}
