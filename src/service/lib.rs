//! What happens: storing, reading, erasing, migrating, and the upkeep that keeps every store in step.
//!
//! The service knows storage traits and an embedder, never a backend. Data moves one way: checked messages are queued,
//! committed to the database in batches, then applied to the session lists, then answered (`ingest`). What a session list misses
//! is found in the database and reconciled (`list_reconciler`). An index over every vector follows by itself (`index`).
//!
//! Imports `core`, `storage` and `embed`. Begin with `ingest.rs`.

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
mod settings;
mod supervisor;
mod sweep;
mod timeout_list_cache;
pub mod verify;

pub use chats::{Deleted, LiveSession};
pub use embedding::ReembedProgress;
pub use history::{Freshness, HistoryPage};
pub use index::{GlobalQuery, GlobalResults, IndexMode, IndexState, IndexStatus};
pub use ingest::{Fate, GroupOutcome, PendingGroups, SavedMessage};
pub use prompts::{PromptHit, PromptLookup, PromptPut};
pub use read_limit::ReadPermit;
pub use search::QueryEmbeddingError;
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

/// What the service works with.
#[derive(Clone, Debug)]
pub struct ServiceParts {
    /// The truth.
    pub database: Stores,
    /// The expiring lists.
    pub lists: Arc<dyn ListCache>,
    /// The model, or none.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// The one clock.
    pub clock: Arc<dyn Clock>,
}

/// How the service behaves; every value is a setting of the binary.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Messages that may wait for the committer. A full queue makes new requests wait, at most `admission`.
    pub queue: usize,
    /// How long a request may wait for a place in the queue before it is turned away.
    pub admission: Duration,
    /// Messages committed together at most.
    pub batch_messages: usize,
    /// Bytes of content committed together at most.
    pub batch_bytes: usize,
    /// How long applying a batch to the lists may take before its messages are answered as pending.
    pub list_budget: Duration,
    /// How long any other call of the list store may take before it counts as failed.
    pub list_timeout: Duration,
    /// How often lists are made durable and noted as such.
    pub sync_mark_interval: Duration,
    /// How long verify waits before it looks again at something that looked wrong.
    pub verify_wait: Duration,
    /// How often expired lists and conversations are removed.
    pub sweep_interval: Duration,
    /// How long an answer to a prompt is good at most.
    pub prompt_ttl: Duration,
    /// Bytes of the answers to prompts, beyond which the least recently used go.
    pub prompt_bytes: u64,
    /// Tries of a background embedder before a message is marked failed.
    pub embed_attempts: u32,
    /// The wait after the first failed try; it doubles with each further one, to at most a minute.
    pub embed_backoff: Duration,
    /// When there is an index over every vector.
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

/// Answers to prompts that wait to be written.
type Answers = mpsc::Receiver<prompts::PendingPut>;

/// The running service. Cheap to clone; all clones are one.
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
    /// Set once, when the service is about to stop: what is on its way is finished, and nothing more of it is begun.
    draining: watch::Sender<Option<Instant>>,
    supervisor: supervisor::Supervisor,
}

impl Service {
    /// Starts the service and its upkeep on the current runtime.
    pub fn start(parts: ServiceParts, settings: Settings) -> Self {
        let (service, queue, answers) = Self::assemble(parts, settings);
        let of = || service.clone();
        service.run("watching", supervisor::watch_loop(of()));
        service.run("ingest", ingest::run(of(), queue));
        service.run("settling", lists::mark_loop(of()));
        service.run("settings", settings::look_loop(of()));
        service.run("mending", lists::reconcile_loop(of()));
        service.run("keeping", prompts::keep_loop(of(), answers));
        service.run("sweep", sweep::sweep_loop(of()));
        service.run("embedding", embedding::background_loop(of()));
        service.run("index", index::follow_loop(of()));
        service
    }

    /// The service without its upkeep: it reads and verifies, stores nothing, and repairs only on request.
    pub fn inspect(parts: ServiceParts, settings: Settings) -> Self {
        Self::assemble(parts, settings).0
    }

    fn assemble(mut parts: ServiceParts, settings: Settings) -> (Self, ingest::Queue, Answers) {
        parts.lists = Arc::new(timeout_list_cache::TimeoutListCache::new(
            parts.lists,
            settings.list_timeout,
        ));
        let (ingest, queue) = ingest::Ingest::new(settings.queue, parts.database.chats.writers());
        let (keeping, answers) = prompts::PutQueue::new();
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
        (service, queue, answers)
    }

    /// Says that [`Self::stop`] comes next: requests of many parts begin no more of them.
    pub fn drain(&self) {
        let now = Instant::now();
        self.0.draining.send_if_modified(|since| {
            let is_first = since.is_none();
            since.get_or_insert(now);
            is_first
        });
    }

    /// Since when the service is about to stop, if it is.
    pub fn draining_since(&self) -> Option<Instant> {
        *self.0.draining.borrow()
    }

    /// Completes when the service is about to stop.
    pub async fn draining(&self) {
        let mut draining = self.0.draining.subscribe();
        // The sender lives as long as the service, so this cannot end with an error.
        let _ = draining.wait_for(Option::is_some).await;
    }

    /// Finishes what is in flight, notes what is left to note, and closes both stores.
    ///
    /// # Errors
    /// The first failure on the way; the stores are closed all the same.
    pub async fn stop(&self) -> Result<()> {
        self.end_tasks().await;
        let synced_ranges = self.mark_synced().await;
        let lists = self.0.parts.lists.close().await;
        let database = self.stores().backend.close().await;
        synced_ranges.and(lists).and(database)
    }

    /// What the service works with.
    pub fn parts(&self) -> &ServiceParts {
        &self.0.parts
    }

    /// How the service behaves.
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
