//! What happens: storing, reading, erasing, migrating, and the upkeep that keeps every store in step.
//!
//! The service knows storage traits and an embedder, never a backend. Data moves one way: checked messages are queued,
//! committed to the database in batches, then applied to the lists, then answered (`ingest`). What a list misses is
//! found again in the database and mended (`mend`). An index over every vector follows by itself (`index`).

mod bounded;
mod chats;
mod embedding;
mod history;
mod index;
mod ingest;
mod ledger;
mod lists;
mod mend;
mod metrics;
mod prompts;
mod search;
mod settings;
mod sweep;
mod turns;
pub mod verify;

pub use chats::{Deleted, Session};
pub use embedding::Reembedding;
pub use history::Standing;
pub use index::{Everything, IndexState, IndexStatus, Indexing, Overview};
pub use ingest::{Answer, Saved, Waiting};
pub use prompts::{FoundAnswer, Keep, Lookup};
pub use search::Unseen;
pub use settings::carry_out;
pub use turns::Turn;

use crate::chat::{Clock, Timestamp};
use crate::embed::Embedder;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{Database, ListCache};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// What the service works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The truth.
    pub database: Arc<dyn Database>,
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
    pub settle_interval: Duration,
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
    pub indexing: Indexing,
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
            settle_interval: Duration::from_millis(200),
            verify_wait: Duration::from_millis(250),
            sweep_interval: Duration::from_secs(30),
            prompt_ttl: Duration::from_secs(86_400),
            prompt_bytes: 256 << 20,
            embed_attempts: 8,
            embed_backoff: Duration::from_secs(1),
            indexing: Indexing::default(),
        }
    }
}

/// Answers to prompts that wait to be written.
type Answers = mpsc::Receiver<prompts::Waiting>;

/// The running service. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    settings: Settings,
    ingest: ingest::Ingest,
    lists: ledger::Ledger,
    shared: settings::Shared,
    metrics: metrics::Counters,
    index: index::Index,
    lookups: prompts::Lookups,
    keeping: prompts::Keeping,
    turns: turns::Turns,
    pending_vectors: tokio::sync::Notify,
    /// Set once, by a failure after which nothing more may be acknowledged.
    fatal: watch::Sender<Option<Error>>,
    /// Set once, to end the background tasks.
    stopping: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl Service {
    /// Starts the service and its upkeep on the current runtime.
    pub fn start(parts: Parts, settings: Settings) -> Self {
        let (service, queue, answers) = Self::assemble(parts, settings);
        let mut tasks = JoinSet::new();
        ingest::spawn(&service, queue, &mut tasks);
        service.watch(&mut tasks, "settling", lists::settle_loop(service.clone()));
        service.watch(&mut tasks, "settings", settings::look_loop(service.clone()));
        service.watch(&mut tasks, "mending", lists::mend_loop(service.clone()));
        let keeping = prompts::keep_loop(service.clone(), answers);
        service.watch(&mut tasks, "keeping", keeping);
        service.watch(&mut tasks, "sweep", sweep::sweep_loop(service.clone()));
        service.watch(
            &mut tasks,
            "embedding",
            embedding::background_loop(service.clone()),
        );
        service.watch(&mut tasks, "index", index::follow_loop(service.clone()));
        *service
            .0
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = tasks;
        service
    }

    /// The service without its upkeep: it reads and verifies, stores nothing, and mends only what it is told to.
    pub fn inspect(parts: Parts, settings: Settings) -> Self {
        Self::assemble(parts, settings).0
    }

    fn assemble(mut parts: Parts, settings: Settings) -> (Self, ingest::Queue, Answers) {
        parts.lists = Arc::new(bounded::Bounded::new(parts.lists, settings.list_timeout));
        let (ingest, queue) = ingest::Ingest::new(settings.queue, parts.database.writers());
        let (keeping, answers) = prompts::Keeping::new();
        let service = Self(Arc::new(Inner {
            parts,
            settings,
            ingest,
            lists: ledger::Ledger::default(),
            shared: settings::Shared::default(),
            metrics: metrics::Counters::default(),
            index: index::Index::new(settings.indexing),
            lookups: prompts::Lookups::default(),
            keeping,
            turns: turns::Turns::default(),
            pending_vectors: tokio::sync::Notify::new(),
            fatal: watch::channel(None).0,
            stopping: watch::channel(false).0,
            tasks: Mutex::new(JoinSet::new()),
        }));
        (service, queue, answers)
    }

    /// Finishes what is in flight, notes what is left to note, and closes both stores.
    ///
    /// # Errors
    /// The first failure on the way; the stores are closed all the same.
    pub async fn stop(&self) -> Result<()> {
        self.0.ingest.close();
        self.0.stopping.send_replace(true);
        let mut tasks =
            std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while let Some(ended) = tasks.join_next().await {
            if let Err(cause) = ended {
                tracing::error!(%cause, "a background task ended badly");
            }
        }
        let settled = self.settle().await;
        let lists = self.0.parts.lists.close().await;
        let database = self.0.parts.database.close().await;
        settled.and(lists).and(database)
    }

    /// Waits until the service must not go on: the failure after which nothing more may be acknowledged.
    pub async fn fatal(&self) -> Error {
        let mut fatal = self.0.fatal.subscribe();
        loop {
            let failure = fatal.borrow_and_update().clone();
            match failure {
                Some(failure) => return failure,
                // The sender lives as long as the service, so waiting can only end with a change.
                None => drop(fatal.changed().await),
            }
        }
    }

    /// What the service works with.
    pub fn parts(&self) -> &Parts {
        &self.0.parts
    }

    /// How the service behaves.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn now(&self) -> Timestamp {
        self.0.parts.clock.now()
    }

    /// The failure after which nothing more may be acknowledged, if there was one.
    pub fn failure(&self) -> Option<Error> {
        self.0.fatal.borrow().clone()
    }

    /// Runs a task that lives as long as the service. Should it panic, the service must not go on without it.
    fn watch(
        &self,
        tasks: &mut JoinSet<()>,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let service = self.clone();
        tasks.spawn(async move {
            if let Err(cause) = tokio::spawn(task).await {
                tracing::error!(task = name, %cause, "a task of the service panicked");
                let context = format!("the {name} task panicked");
                let failure = Error::caused(ErrorKind::Internal, "service", "run", context, cause);
                service.0.fatal.send_replace(Some(failure));
            }
        });
    }

    /// After a failed write: tells everyone who waits in [`Self::fatal`] when the database is beyond use.
    fn note_fatal(&self) {
        if let Some(failure) = self.0.parts.database.fatal() {
            self.0.fatal.send_replace(Some(failure));
        }
    }

    /// Waits for `span`, or until the service stops; whether to go on.
    async fn pause(&self, span: Duration) -> bool {
        let mut stopping = self.0.stopping.subscribe();
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => false,
            () = tokio::time::sleep(span) => true,
        }
    }

    fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }

    /// Completes when the service stops.
    async fn stopped(&self) {
        let mut stopping = self.0.stopping.subscribe();
        // An error means that the sender is gone, which is a stop as well.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}
