//! The business logic: storing, reading, erasing, migrating, and the background tasks that keep the stores consistent.
//!
//! The service knows storage traits and an embedder, never a backend. Data moves one way: checked messages are queued,
//! committed to the database in batches, applied to the session lists, then replied to (`ingest`). What a list lacks is
//! found in the database's outbox and reconciled (`list_reconciler`). An index over all vectors follows the commits (`index`).

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

mod chats;
mod embedding;
mod history;
mod index;
mod ingest;
mod list_reconciler;
mod list_sync_state;
mod lists;
mod metrics;
mod prompts;
mod read_limit;
mod search;
mod session;
mod settings;
mod supervisor;
mod sweep;
mod timeout_list_cache;
pub mod verify;

pub use chats::Deleted;
pub use embedding::ReembedProgress;
pub use history::{Freshness, HistoryPage};
pub use index::{GlobalQuery, GlobalResults, IndexMode, IndexState, IndexStatus};
pub use ingest::{Fate, GroupOutcome, PendingGroups, SavedMessage};
pub use prompts::{PromptHit, PromptLookup, PromptPut};
pub use read_limit::ReadPermit;
pub use search::QueryEmbeddingError;
pub use session::SessionPage;
pub use settings::carry_out;
pub use supervisor::Essential;

use guestbook_core::error::Result;
use guestbook_core::{Clock, Timestamp};
use guestbook_embed::Embedder;
use guestbook_storage::{ListCache, Stores};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// The dependencies of the service.
#[derive(Clone, Debug)]
pub struct ServiceParts {
    /// The source of truth.
    pub database: Stores,
    /// The expiring session lists.
    pub lists: Arc<dyn ListCache>,
    /// The embedding model, if any.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// The one clock.
    pub clock: Arc<dyn Clock>,
}

/// The service's configuration; every value is a setting of the binary.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Capacity of the write queue in messages. When it is full, new requests wait up to `admission`.
    pub queue: usize,
    /// How long a request may wait for room in the queue before it is rejected.
    pub admission: Duration,
    /// Messages committed together at most.
    pub batch_messages: usize,
    /// Bytes of content committed together at most.
    pub batch_bytes: usize,
    /// How long applying a batch to the lists may take before its messages are reported as pending.
    pub list_budget: Duration,
    /// How long any other call of the list store may take before it counts as failed.
    pub list_timeout: Duration,
    /// How often applied list writes are made durable and marked as synced.
    pub sync_mark_interval: Duration,
    /// How long verify waits before it rechecks a difference.
    pub verify_wait: Duration,
    /// How often expired lists and conversations are removed.
    pub sweep_interval: Duration,
    /// The longest TTL of a prompt cache entry.
    pub prompt_ttl: Duration,
    /// Size of the prompt cache in bytes; beyond it the least recently used entries are evicted.
    pub prompt_bytes: u64,
    /// Attempts of a background embedder before a message is marked failed.
    pub embed_attempts: u32,
    /// The wait after the first failed attempt; it doubles with each further one, to at most a minute.
    pub embed_backoff: Duration,
    /// When the index over all vectors is built.
    pub indexing: IndexMode,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue: 4096,
            admission: Duration::from_secs(1),
            batch_messages: 1024,
            batch_bytes: 8 << 20,
            list_budget: Duration::from_millis(250),
            list_timeout: Duration::from_secs(4),
            sync_mark_interval: Duration::from_millis(200),
            verify_wait: Duration::from_millis(250),
            sweep_interval: Duration::from_secs(30),
            prompt_ttl: Duration::from_secs(86_400),
            prompt_bytes: 256 << 20,
            embed_attempts: 8,
            embed_backoff: Duration::from_secs(1),
            indexing: IndexMode::default(),
        }
    }
}

/// Prompt cache entries that wait to be written.
type PendingPuts = mpsc::Receiver<prompts::PendingPut>;

/// The running service. All clones share one state.
#[derive(Clone, Debug)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: ServiceParts,
    settings: Settings,
    ingest: ingest::Ingest,
    lists: list_sync_state::ListSyncState,
    shared: settings::Shared,
    metrics: metrics::MetricsCounters,
    index: index::VectorIndex,
    lookups: prompts::LookupCounters,
    keeping: prompts::PutQueue,
    read_limit: read_limit::ReadLimit,
    pending_vectors: tokio::sync::Notify,
    /// Set once, when shutdown begins: work in flight is finished, no new work is begun.
    draining: watch::Sender<Option<Instant>>,
    supervisor: supervisor::Supervisor,
}

impl Service {
    /// Starts the service and its background tasks on the current runtime.
    pub fn start(parts: ServiceParts, settings: Settings) -> Self {
        let (service, queue, puts) = Self::assemble(parts, settings);
        let of = || service.clone();
        service.run("watching", supervisor::watch_loop(of()));
        service.run("ingest", ingest::run(of(), queue));
        service.run("sync marks", lists::mark_loop(of()));
        service.run("settings", settings::look_loop(of()));
        service.run("list reconciler", lists::reconcile_loop(of()));
        service.run("prompt cache writer", prompts::keep_loop(of(), puts));
        service.run("sweep", sweep::sweep_loop(of()));
        service.run("embedding", embedding::background_loop(of()));
        service.run("index", index::follow_loop(of()));
        service
    }

    /// The service without background tasks: it reads and verifies, stores nothing, and reconciles only on demand.
    pub fn inspect(parts: ServiceParts, settings: Settings) -> Self {
        Self::assemble(parts, settings).0
    }

    fn assemble(mut parts: ServiceParts, settings: Settings) -> (Self, ingest::Queue, PendingPuts) {
        parts.lists = Arc::new(timeout_list_cache::TimeoutListCache::new(
            parts.lists,
            settings.list_timeout,
        ));
        let (ingest, queue) = ingest::Ingest::new(settings.queue, parts.database.chats.writers());
        let (keeping, puts) = prompts::PutQueue::new();
        let (corpus, clock) = (Arc::clone(&parts.database.corpus), Arc::clone(&parts.clock));
        let service = Self(Arc::new(Inner {
            parts,
            settings,
            ingest,
            lists: list_sync_state::ListSyncState::default(),
            shared: settings::Shared::default(),
            metrics: metrics::MetricsCounters::default(),
            index: index::VectorIndex::new(settings.indexing, corpus, clock),
            lookups: prompts::LookupCounters::default(),
            keeping,
            read_limit: read_limit::ReadLimit::default(),
            pending_vectors: tokio::sync::Notify::new(),
            draining: watch::channel(None).0,
            supervisor: supervisor::Supervisor::default(),
        }));
        (service, queue, puts)
    }

    /// Announces [`Self::stop`]: requests of many parts begin no more of them.
    pub fn drain(&self) {
        let now = Instant::now();
        self.0.draining.send_if_modified(|since| {
            let is_first = since.is_none();
            since.get_or_insert(now);
            is_first
        });
    }

    /// When shutdown began, if it has.
    pub fn draining_since(&self) -> Option<Instant> {
        *self.0.draining.borrow()
    }

    /// Completes when shutdown begins.
    pub async fn draining(&self) {
        let mut draining = self.0.draining.subscribe();
        // The sender lives as long as the service, so this cannot end with an error.
        let _ = draining.wait_for(Option::is_some).await;
    }

    /// Finishes work in flight, writes the remaining sync marks, and closes both stores.
    ///
    /// # Errors
    /// The first failure; the stores are closed all the same.
    pub async fn stop(&self) -> Result<()> {
        self.end_tasks().await;
        let synced_ranges = self.mark_synced().await;
        let lists = self.0.parts.lists.close().await;
        let database = self.stores().backend.close().await;
        synced_ranges.and(lists).and(database)
    }

    /// The dependencies of the service.
    pub fn parts(&self) -> &ServiceParts {
        &self.0.parts
    }

    /// The configuration of the service.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn stores(&self) -> &Stores {
        &self.0.parts.database
    }

    fn now(&self) -> Timestamp {
        self.0.parts.clock.now()
    }
}
