//! The index over all vectors: in memory, derived from the tables, and never on the write path.
//!
//! A background task ([`follow`]) scans the tables page by page, then receives an event for each commit of this node and polls
//! for those of others. The index only proposes candidates: each is read from the tables before it is returned, so a message
//! that is deleted, expired or of another model is never found.
//!
//! **Invariant:** notifying the index never waits. If its channel is full, it scans the tables again.

mod follow;
mod rows;
mod scan;
mod search;

pub(super) use follow::follow_loop;
pub use search::{GlobalQuery, GlobalResults};

use super::Service;
use guestbook_core::error::Result;
use guestbook_core::{Clock, MessageId, Timestamp};
use guestbook_storage::database::{Embedding, Entry, IndexedVector, Recorded, VectorSource};
use rows::IndexRows;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Events the index may lag behind before it scans again instead.
const EVENTS: usize = 1024;

/// When the index is built: `--search-index`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum IndexMode {
    /// Never.
    Off,
    /// From the first search on: a store without searches pays nothing.
    #[default]
    Lazy,
    /// From the start.
    On,
}

/// The state of the index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IndexState {
    /// Disabled.
    Off,
    /// Not built until the first search.
    Lazy,
    /// Being built; the finished part can be searched.
    Building,
    /// Complete, and following the commits.
    Ready,
}

impl IndexState {
    /// The word used in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Lazy => "lazy",
            Self::Building => "building",
            Self::Ready => "ready",
        }
    }
}

/// The coverage of the index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IndexStatus {
    /// The state of the index.
    pub state: IndexState,
    /// Messages in it.
    pub searched: u64,
    /// Messages with a vector in the tables, counted within the last seconds. More than `searched` also while embeddings are
    /// pending or being recomputed.
    pub of: u64,
}

/// An event for the indexer.
#[derive(Debug)]
enum IndexEvent {
    /// These vectors were committed at this time.
    Stored(Timestamp, Vec<IndexedVector>),
    /// The vectors of these messages may have changed or be gone: reread them.
    Changed(Vec<MessageId>),
    /// So many unnamed messages were removed.
    Removed(u64),
    /// Replied to once all earlier events are processed.
    Flush(oneshot::Sender<()>),
}

/// The index as its writers and searches see it.
#[derive(Debug)]
pub(super) struct VectorIndex {
    indexing: IndexMode,
    corpus: Arc<dyn VectorSource>,
    clock: Arc<dyn Clock>,
    awake: watch::Sender<bool>,
    /// Whether a full scan has completed.
    complete: watch::Sender<bool>,
    rows: Mutex<IndexRows>,
    of: AtomicU64,
    sender: mpsc::Sender<IndexEvent>,
    /// Taken by the indexer.
    events: Mutex<Option<mpsc::Receiver<IndexEvent>>>,
    /// Set when an event did not fit into the channel.
    missed: AtomicBool,
    /// One search at a time: each uses every processor.
    scanning: Semaphore,
}

impl VectorIndex {
    pub(super) fn new(
        indexing: IndexMode,
        corpus: Arc<dyn VectorSource>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        Self {
            indexing,
            corpus,
            clock,
            awake: watch::channel(indexing == IndexMode::On).0,
            complete: watch::channel(false).0,
            rows: Mutex::default(),
            of: AtomicU64::new(0),
            sender,
            events: Mutex::new(Some(events)),
            missed: AtomicBool::new(false),
            scanning: Semaphore::new(1),
        }
    }

    /// Sends the vectors of a commit. Without an index this costs one atomic load.
    pub(super) fn stored<'a>(
        &self,
        at: Timestamp,
        recorded: impl Iterator<Item = (&'a Entry, &'a Recorded)>,
    ) {
        self.send(|| {
            let new = recorded.filter(|(_, recorded)| recorded.replayed.is_none());
            let rows: Vec<_> = new.filter_map(|(entry, _)| indexable(entry)).collect();
            (!rows.is_empty()).then_some(IndexEvent::Stored(at, rows))
        });
    }

    /// Sends the messages whose embedding came later.
    pub(super) fn updated(&self, ids: Vec<MessageId>) {
        self.send(|| (!ids.is_empty()).then_some(IndexEvent::Changed(ids)));
    }

    /// Sends a count of removed messages.
    pub(super) fn removed(&self, messages: u64) {
        self.send(|| (messages > 0).then_some(IndexEvent::Removed(messages)));
    }

    fn send(&self, event: impl FnOnce() -> Option<IndexEvent>) {
        if !*self.awake.borrow() {
            return; // the full scan will see it
        }
        if let Some(event) = event()
            && self.sender.try_send(event).is_err()
        {
            self.missed.store(true, Ordering::Release);
        }
    }

    fn rows(&self) -> MutexGuard<'_, IndexRows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> IndexStatus {
        let state = match (self.indexing, *self.awake.borrow(), *self.complete.borrow()) {
            (IndexMode::Off, _, _) => IndexState::Off,
            (_, false, _) => IndexState::Lazy,
            (_, true, false) => IndexState::Building,
            (_, true, true) => IndexState::Ready,
        };
        let searched = self.rows().len() as u64;
        IndexStatus {
            state,
            searched,
            of: self.of.load(Ordering::Relaxed).max(searched),
        }
    }
}

impl Service {
    /// The coverage of the index.
    pub fn index_status(&self) -> IndexStatus {
        self.0.index.status()
    }

    /// The messages of all conversations nearest to the query vector. While the index is being built, the results cover its
    /// finished part and say so.
    ///
    /// # Errors
    /// `Conflict` without an index; those of the database.
    pub async fn search_everything(&self, query: &GlobalQuery) -> Result<GlobalResults> {
        self.0.index.search(query).await
    }
}

fn indexable(entry: &Entry) -> Option<IndexedVector> {
    let Embedding::Vector(vector) = &entry.embedding else {
        return None;
    };
    Some(IndexedVector {
        id: entry.message.id,
        role: entry.message.role,
        sent_at: entry.message.sent_at,
        vector: vector.clone(),
    })
}
