//! What the tests of the service play on: a service over stores that fail, wait and remember when told to, on a clock that
//! stands still. Shared by several test crates, none of which uses all of it.

pub mod control;
pub mod database;
pub mod faulty;
pub mod model;
pub mod words;

use control::{Control, Log};
use database::FaultyChats;
use faulty::Faulty;
use guestbook::core::error::Result;
use guestbook::core::{Clock, ManualClock, Message, NewMessage, Ttl};
use guestbook::embed::Embedder;
use guestbook::service::verify::{VerifyMode, VerifyReport, VerifyScope};
use guestbook::service::{GroupOutcome, SavedMessage, Service, ServiceParts, Settings};
use guestbook::sled::SledLists;
use guestbook::sqlite::SqliteDatabase;
use guestbook::storage::database::{ChatKey, PageRange, PageStart, TableSettings};
use guestbook::storage::list_cache::Item;
use guestbook::storage::memory::{MemoryDatabase, MemoryLists};
use guestbook::storage::{ListCache, Stores};
use guestbook_storage_contract::words::WHOLE;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use words::{HOUR, SECOND, WHOLE_CHAT, alone, guest, noon, saved, until};

/// Which stores to play on.
#[derive(Clone, Debug)]
pub enum Pair {
    /// Both in memory.
    Memory,
    /// SQLite and sled in this folder.
    Folder(PathBuf),
    /// These, opened with [`Plan::tables`] before.
    Open(Stores, Arc<dyn ListCache>),
}

/// How to set the harness.
#[derive(Clone, Debug)]
pub struct Plan {
    pub pair: Pair,
    pub settings: Settings,
    pub list_ttl: Ttl,
    pub retention: Option<Duration>,
    pub embedder: Option<Arc<dyn Embedder>>,
    pub clock: Arc<ManualClock>,
    /// Batches that the database takes at the same time; its own number where none is given.
    pub writers: Option<usize>,
}

/// The harness.
#[derive(Debug)]
pub struct ServiceHarness {
    pub service: Service,
    pub list_ttl: Duration,
    pub clock: Arc<ManualClock>,
    pub log: Log,
    /// The chats as the service sees them, and the strings of both stores.
    pub faulty: Arc<FaultyChats>,
    pub tables: Arc<Control>,
    pub lists: Arc<Control>,
    /// The stores themselves, which never fail.
    pub database: Stores,
    pub cache: Arc<dyn ListCache>,
}

impl Plan {
    /// No embedder, no retention, and upkeep that only does what a law asks for: nothing comes round by a timer.
    pub fn new(pair: Pair) -> Self {
        let settings = Settings {
            sync_mark_interval: HOUR,
            sweep_interval: HOUR,
            verify_wait: Duration::from_millis(20),
            // Long: a busy machine is no fault. Laws about a list store that hangs set their own.
            list_budget: Duration::from_secs(20),
            ..Settings::default()
        };
        let clock = Arc::new(ManualClock::new(noon()));
        Self {
            pair,
            settings,
            list_ttl: Ttl::DEFAULT,
            retention: None,
            embedder: None,
            clock,
            writers: None,
        }
    }

    pub fn memory() -> Self {
        Self::new(Pair::Memory)
    }

    pub fn folder(folder: &tempfile::TempDir) -> Self {
        Self::new(Pair::Folder(folder.path().to_owned()))
    }

    /// What the clock shows.
    pub fn clock_now(&self) -> guestbook::core::Timestamp {
        self.clock.now()
    }

    /// What the tables are opened with.
    pub fn tables(&self) -> TableSettings {
        TableSettings {
            list_ttl: self.list_ttl,
            retention: self.retention,
            model: self.embedder.as_ref().map(|model| model.model().clone()),
            cache_backend: "lists",
            text_index: false,
        }
    }

    /// Opens the stores without a service on them.
    pub fn stores(&self) -> (Stores, Arc<dyn ListCache>) {
        let tables = self.tables();
        match &self.pair {
            Pair::Open(database, lists) => (database.clone(), Arc::clone(lists)),
            Pair::Memory => (
                Stores::of(Arc::new(MemoryDatabase::new(tables))),
                Arc::new(MemoryLists::new()),
            ),
            Pair::Folder(folder) => (
                Stores::of(Arc::new(
                    SqliteDatabase::open(&folder.join("guestbook.db"), tables).unwrap(),
                )),
                Arc::new(lists_of_the_dead(&folder.join("lists"))),
            ),
        }
    }

    /// Opens everything and starts the service.
    pub fn start(&self) -> ServiceHarness {
        self.start_on(self.stores())
    }

    /// Starts a service on stores that are open.
    pub fn start_on(&self, stores: (Stores, Arc<dyn ListCache>)) -> ServiceHarness {
        let (database, cache) = stores;
        let log = Log::default();
        let tables = Control::new("tables", Arc::clone(&log));
        let lists = Control::new("lists", Arc::clone(&log));
        let (faulty_database, faulty) = database::faulty(&database, &tables, self.writers);
        let parts = ServiceParts {
            database: faulty_database,
            lists: Faulty::new(&cache, &lists),
            embedder: self.embedder.clone(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        };
        let service = Service::start(parts, self.settings);
        let clock = Arc::clone(&self.clock);
        ServiceHarness {
            service,
            list_ttl: self.list_ttl.0,
            clock,
            log,
            faulty,
            tables,
            lists,
            database,
            cache,
        }
    }
}

impl ServiceHarness {
    /// Waits until the look at the lists that comes with every start is over, so that it is not in the way of counting.
    pub async fn ready(self) -> Self {
        // Every list is compared with the tables, page by page, and what was rebuilt is flushed.
        until("the first look at the lists is over", || async {
            let log = self.log.lock().unwrap();
            let last = |call| log.iter().rposition(|logged| *logged == call);
            last(("tables", "list_rows")).is_some_and(|rows| last(("lists", "flush")) > Some(rows))
        })
        .await;
        until("nothing is owed at the start", || async {
            !self.owes().await
        })
        .await;
        self
    }

    /// Stores groups, each of which must be saved.
    pub async fn store(&self, groups: Vec<Vec<NewMessage>>) -> Vec<SavedMessage> {
        let answers = self.service.store(groups).await.unwrap();
        answers
            .iter()
            .flat_map(|answer| saved(answer).to_vec())
            .collect()
    }

    /// A guest says something, which must be saved.
    pub async fn say(&self, name: &str, text: &str) -> SavedMessage {
        self.store(alone(words::says(name, text))).await.remove(0)
    }

    /// One answer to one message, whatever it is.
    pub async fn ask(&self, message: NewMessage) -> GroupOutcome {
        self.service.store(alone(message)).await.unwrap().remove(0)
    }

    /// What the tables have of a guest.
    pub async fn messages(&self, name: &str) -> Vec<Message> {
        let page = PageRange {
            limit: 1_000_000,
            from: PageStart::At(0),
        };
        let chat = ChatKey::Guest(guest(name));
        let history = self
            .database
            .chats
            .history(&chat, page, self.clock.now())
            .await
            .unwrap();
        history.map(|history| history.messages).unwrap_or_default()
    }

    pub async fn texts(&self, name: &str) -> Vec<String> {
        let messages = self.messages(name).await;
        messages
            .iter()
            .map(|message| message.content.as_str().to_owned())
            .collect()
    }

    /// What the list store has of a guest.
    pub async fn listed(&self, name: &str) -> Option<Vec<String>> {
        let list = self
            .cache
            .range(&guest(name), WHOLE, self.clock.now())
            .await
            .unwrap();
        list.map(|list| list.items.iter().map(text_of).collect())
    }

    /// The session of a guest, read to its end: its texts, and who answered.
    pub async fn session(&self, name: &str) -> Option<(Vec<String>, &'static str)> {
        self.try_session(name).await.unwrap()
    }

    /// As [`Self::session`], where it may fail.
    pub async fn try_session(&self, name: &str) -> Result<Option<(Vec<String>, &'static str)>> {
        let page = self.service.session(&guest(name), WHOLE_CHAT).await?;
        let Some(mut page) = page else {
            return Ok(None);
        };
        let mut texts = Vec::new();
        while let Some(step) = page.next().await {
            texts.extend(step?.0.iter().map(text_of));
        }
        Ok(Some((texts, page.source)))
    }

    /// Whether the tables owe the lists anything.
    pub async fn owes(&self) -> bool {
        let outbox_entries = self
            .database
            .outbox
            .outbox_entries(None, self.clock.now(), 10)
            .await
            .unwrap();
        !outbox_entries.is_empty()
    }

    /// Waits until every list is right and noted to be.
    pub async fn mended(&self) {
        until("the lists are mended by themselves", || async {
            let synced_ranges = self.service.mark_synced().await;
            synced_ranges.is_ok() && !self.owes().await
        })
        .await;
    }

    /// What verify says a second later: what was said in this very moment would count as on its way.
    pub async fn verify(&self) -> VerifyReport {
        self.clock.advance(SECOND);
        self.service
            .verify(&VerifyScope::All, VerifyMode::Look)
            .await
            .unwrap()
    }

    pub async fn assert_well(&self) {
        let report = self.verify().await;
        assert!(report.ok, "{report:#?}");
    }

    /// Puts the stores back into order and ends.
    pub async fn stop(self) {
        self.tables.lift();
        self.lists.lift();
        self.tables.release();
        self.lists.release();
        self.service.stop().await.unwrap();
    }
}

pub fn text_of(item: &Item) -> String {
    item.content.as_str().to_owned()
}

/// Opens lists that a service which died in this process may still hold: its threads let go of them in their own time.
fn lists_of_the_dead(path: &std::path::Path) -> SledLists {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        match SledLists::open(path) {
            Ok(lists) => return lists,
            Err(cause) if std::time::Instant::now() > deadline => panic!("{cause}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}
