//! The index over every vector: in memory, derived from the tables, and never on the write path.
//!
//! A task of its own ([`follow`]) scans through the tables page by page, and then receives what this node commits. What
//! other nodes store it looks for. The index only proposes: every message that it names is read from the tables before
//! anybody sees it, so nothing that was deleted, has expired or is of another model is ever found.
//!
//! **Invariant:** notifying the index never waits. When it receives more than it can take, it scans again.

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

/// Batches the index may be behind before it scans again instead.
const NEWS: usize = 1024;

/// When there is an index over everything: `--search-index`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum IndexMode {
    /// Never.
    Off,
    /// From the first search on: who never searches pays nothing.
    #[default]
    Lazy,
    /// From the start.
    On,
}

/// How far the index is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IndexState {
    /// There is none, and there will be none.
    Off,
    /// Nobody has searched yet.
    Lazy,
    /// It is being made; what is done can be searched.
    Building,
    /// It has seen everything, and follows.
    Ready,
}

impl IndexState {
    /// The word of the answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Lazy => "lazy",
            Self::Building => "building",
            Self::Ready => "ready",
        }
    }
}

/// How much can be searched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IndexStatus {
    /// How far it is.
    pub state: IndexState,
    /// Messages in it.
    pub searched: u64,
    /// Messages there are to search, as counted within the last seconds. More than `searched` also while vectors are pending
    /// or are being computed anew.
    pub of: u64,
}

/// What the indexer receives.
#[derive(Debug)]
enum IndexEvent {
    /// These were committed, at this time.
    Stored(Timestamp, Vec<IndexedVector>),
    /// The vectors of these may have changed, or be gone: the tables know.
    Changed(Vec<MessageId>),
    /// So many messages were removed, and it is not known which.
    Removed(u64),
    /// Somebody wants to know when everything before this has been taken in.
    Asked(oneshot::Sender<()>),
}

/// The index, for those who notify and search it.
#[derive(Debug)]
pub(super) struct VectorIndex {
    indexing: IndexMode,
    corpus: Arc<dyn VectorSource>,
    clock: Arc<dyn Clock>,
    awake: watch::Sender<bool>,
    /// Whether everything has been seen once.
    complete: watch::Sender<bool>,
    rows: Mutex<IndexRows>,
    of: AtomicU64,
    news: mpsc::Sender<IndexEvent>,
    /// Taken by the follower.
    heard: Mutex<Option<mpsc::Receiver<IndexEvent>>>,
    /// News that there was no room for.
    missed: AtomicBool,
    /// One scan at a time: each uses every processor.
    scanning: Semaphore,
}

impl VectorIndex {
    pub(super) fn new(
        indexing: IndexMode,
        corpus: Arc<dyn VectorSource>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (news, heard) = mpsc::channel(NEWS);
        Self {
            indexing,
            corpus,
            clock,
            awake: watch::channel(indexing == IndexMode::On).0,
            complete: watch::channel(false).0,
            rows: Mutex::default(),
            of: AtomicU64::new(0),
            news,
            heard: Mutex::new(Some(heard)),
            missed: AtomicBool::new(false),
            scanning: Semaphore::new(1),
        }
    }

    /// Notifies of a commit. Costs a look at a flag while there is no index.
    pub(super) fn stored<'a>(
        &self,
        at: Timestamp,
        recorded: impl Iterator<Item = (&'a Entry, &'a Recorded)>,
    ) {
        self.tell(|| {
            let new = recorded.filter(|(_, recorded)| recorded.replayed.is_none());
            let rows: Vec<_> = new.filter_map(|(entry, _)| indexable(entry)).collect();
            (!rows.is_empty()).then_some(IndexEvent::Stored(at, rows))
        });
    }

    /// Notifies of vectors that were made later.
    pub(super) fn updated(&self, ids: Vec<MessageId>) {
        self.tell(|| (!ids.is_empty()).then_some(IndexEvent::Changed(ids)));
    }

    /// Notifies that messages are gone.
    pub(super) fn removed(&self, messages: u64) {
        self.tell(|| (messages > 0).then_some(IndexEvent::Removed(messages)));
    }

    fn tell(&self, news: impl FnOnce() -> Option<IndexEvent>) {
        if !*self.awake.borrow() {
            return; // the full scan will see it
        }
        if let Some(news) = news()
            && self.news.try_send(news).is_err()
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
    /// How far the index over everything is.
    pub fn index_status(&self) -> IndexStatus {
        self.0.index.status()
    }

    /// The messages whose meaning is nearest to what is looked for, over all conversations. While the index is being made the
    /// answer is of what is done, and says so.
    ///
    /// # Errors
    /// `Conflict` without an index; those of the database.
    pub async fn search_everything(&self, asked: &GlobalQuery) -> Result<GlobalResults> {
        self.0.index.search(asked).await
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
