//! The index over every vector: in memory, derived from the tables, and never on the write path.
//!
//! A task of its own ([`follow`]) walks through the tables page by page, and is told afterwards what this node commits. What
//! other nodes store it looks for. The index only proposes: every message that it names is read from the tables before
//! anybody sees it, so nothing that was deleted, has expired or is of another model is ever found.
//!
//! **Invariant:** telling the index never waits. Should it be told more than it can take, it walks again.

mod follow;
mod rows;
mod scan;
mod search;

pub(super) use follow::follow_loop;
pub use search::{Everything, Overview};

use super::Service;
use guestbook_core::error::Result;
use guestbook_core::{Clock, MessageId, Timestamp};
use guestbook_storage::database::{Corpus, Embedding, Entry, Indexable, Recorded};
use rows::Rows;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Batches the index may be behind before it walks again instead.
const NEWS: usize = 1024;

/// When there is an index over everything: `--search-index`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Indexing {
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

/// What the follower is told.
#[derive(Debug)]
enum News {
    /// These were committed, at this time.
    Stored(Timestamp, Vec<Indexable>),
    /// The vectors of these may have changed, or be gone: the tables know.
    Changed(Vec<MessageId>),
    /// So many messages were removed, and it is not known which.
    Removed(u64),
    /// Somebody wants to know when everything before this has been taken in.
    Asked(oneshot::Sender<()>),
}

/// The index, as those see it who tell and ask.
#[derive(Debug)]
pub(super) struct Index {
    indexing: Indexing,
    corpus: Arc<dyn Corpus>,
    clock: Arc<dyn Clock>,
    awake: watch::Sender<bool>,
    /// Whether everything has been seen once.
    complete: watch::Sender<bool>,
    rows: Mutex<Rows>,
    of: AtomicU64,
    news: mpsc::Sender<News>,
    /// Taken by the follower.
    heard: Mutex<Option<mpsc::Receiver<News>>>,
    /// News that there was no room for.
    missed: AtomicBool,
    /// One scan at a time: each uses every processor.
    scanning: Semaphore,
}

impl Index {
    pub(super) fn new(indexing: Indexing, corpus: Arc<dyn Corpus>, clock: Arc<dyn Clock>) -> Self {
        let (news, heard) = mpsc::channel(NEWS);
        Self {
            indexing,
            corpus,
            clock,
            awake: watch::channel(indexing == Indexing::On).0,
            complete: watch::channel(false).0,
            rows: Mutex::default(),
            of: AtomicU64::new(0),
            news,
            heard: Mutex::new(Some(heard)),
            missed: AtomicBool::new(false),
            scanning: Semaphore::new(1),
        }
    }

    /// Tells of a commit. Costs a look at a flag while there is no index.
    pub(super) fn stored<'a>(
        &self,
        at: Timestamp,
        recorded: impl Iterator<Item = (&'a Entry, &'a Recorded)>,
    ) {
        self.tell(|| {
            let new = recorded.filter(|(_, recorded)| recorded.replayed.is_none());
            let rows: Vec<_> = new.filter_map(|(entry, _)| indexable(entry)).collect();
            (!rows.is_empty()).then_some(News::Stored(at, rows))
        });
    }

    /// Tells of messages whose model has been asked later.
    pub(super) fn updated(&self, ids: Vec<MessageId>) {
        self.tell(|| (!ids.is_empty()).then_some(News::Changed(ids)));
    }

    /// Tells that messages are gone.
    pub(super) fn removed(&self, messages: u64) {
        self.tell(|| (messages > 0).then_some(News::Removed(messages)));
    }

    fn tell(&self, news: impl FnOnce() -> Option<News>) {
        if !*self.awake.borrow() {
            return; // the walk will see it
        }
        if let Some(news) = news()
            && self.news.try_send(news).is_err()
        {
            self.missed.store(true, Ordering::Release);
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> IndexStatus {
        let state = match (self.indexing, *self.awake.borrow(), *self.complete.borrow()) {
            (Indexing::Off, _, _) => IndexState::Off,
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
    pub async fn search_everything(&self, asked: &Everything) -> Result<Overview> {
        self.0.index.search(asked).await
    }
}

fn indexable(entry: &Entry) -> Option<Indexable> {
    let Embedding::Vector(vector) = &entry.embedding else {
        return None;
    };
    Some(Indexable {
        id: entry.message.id,
        role: entry.message.role,
        sent_at: entry.message.sent_at,
        vector: vector.clone(),
    })
}
