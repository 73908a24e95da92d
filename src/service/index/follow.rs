//! Builds the index by a full scan of the tables, then follows the commits of this node and of others.

use super::{IndexEvent, VectorIndex};
use crate::Service;
use guestbook_core::error::Result;
use guestbook_core::{MessageId, ModelId, Timestamp, rounded_ms};
use guestbook_storage::database::VectorSource;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Rows per page of a full scan.
const PAGE: usize = 2000;
/// Events processed before anything else is checked.
const AT_ONCE: usize = 64;
/// How long to wait after the database failed.
const DATABASE_WAIT: Duration = Duration::from_secs(1);
/// How often other nodes' vectors are polled, and how often the vectors are counted.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The clock skew of two nodes plus the time from a batch's timestamp to its commit.
const LATE: Duration = Duration::from_secs(30);
/// Timestamps of other nodes' vectors read at a time.
const LOOK_PAGE: usize = 10_000;
/// Interval of full scans on shared tables, where other nodes delete messages, and may commit later than [`LATE`].
const FULL_SCAN_EVERY: Duration = Duration::from_secs(3600);
/// Minimum interval between purge scans; they may use at most one in so many parts of the wall time.
const FULL_SCAN_AGAIN: Duration = Duration::from_secs(10);
const SHARE: u32 = 20;

/// Follows the tables until the service stops.
pub(crate) async fn follow_loop(service: Service) {
    let index = &service.0.index;
    let events = index
        .events
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .take();
    let (Some(events), Some(embedder)) = (events, service.0.parts.embedder.clone()) else {
        return service.stopped().await;
    };
    let mut awake = index.awake.subscribe();
    tokio::select! {
        _ = awake.wait_for(|awake| *awake) => {}
        () = service.stopped() => return,
    }
    let mut follower = Indexer::new(&service, events, embedder.model().clone());
    while !service.is_stopping() {
        if let Err(cause) = follower.step().await {
            service.note_fatal();
            tracing::error!(step = "index", %cause, "the tables cannot be read; the search index waits for them");
            if !service.pause(DATABASE_WAIT).await {
                return;
            }
        }
    }
}

struct Indexer<'a> {
    service: &'a Service,
    index: &'a VectorIndex,
    corpus: &'a dyn VectorSource,
    model: ModelId,
    events: mpsc::Receiver<IndexEvent>,
    /// The number of the current full scan, which marks the rows it has seen.
    full_scan: u8,
    scanning: Option<FullScan>,
    /// Messages removed since the last full scan began.
    removed: u64,
    /// When the last full scan ended, and how long it took.
    last_full_scan: (Instant, Duration),
    looked: RecentVectors,
    counted: Instant,
}

/// A full scan in progress.
struct FullScan {
    after: Option<MessageId>,
    began: Instant,
}

/// The vectors stored within [`LATE`], here or elsewhere.
struct RecentVectors {
    since: Timestamp,
    known: HashMap<MessageId, Timestamp>,
    due: Instant,
}

impl<'a> Indexer<'a> {
    fn new(service: &'a Service, events: mpsc::Receiver<IndexEvent>, model: ModelId) -> Self {
        let now = Instant::now();
        Self {
            service,
            index: &service.0.index,
            corpus: &*service.0.index.corpus,
            model,
            events,
            full_scan: 1,
            scanning: Some(FullScan {
                after: None,
                began: now,
            }),
            removed: 0,
            last_full_scan: (now, Duration::ZERO),
            looked: RecentVectors {
                since: before(service.now()),
                known: HashMap::new(),
                due: now,
            },
            counted: now - LOOK_EVERY,
        }
    }

    /// Does the most urgent work, or waits for some.
    async fn step(&mut self) -> Result<()> {
        for _ in 0..AT_ONCE {
            let Ok(event) = self.events.try_recv() else {
                break;
            };
            self.take_in(event).await?;
        }
        if self.index.missed.swap(false, Ordering::AcqRel) {
            tracing::debug!("the search index missed events; it scans the tables again");
            self.begin();
        }
        if self.corpus.is_shared() && self.looked.due <= Instant::now() {
            self.look().await?;
        }
        if self.counted.elapsed() >= LOOK_EVERY {
            let of = self.corpus.searchable(&self.model).await?;
            self.index.of.store(of, Ordering::Relaxed);
            self.counted = Instant::now();
        }
        if self.scanning.is_some() {
            return self.page().await;
        }
        if self.is_full_scan_due() {
            self.begin();
            return Ok(());
        }
        tokio::select! {
            Some(event) = self.events.recv() => self.take_in(event).await,
            () = tokio::time::sleep(LOOK_EVERY) => Ok(()),
            () = self.service.stopped() => Ok(()),
        }
    }

    async fn take_in(&mut self, event: IndexEvent) -> Result<()> {
        match event {
            IndexEvent::Stored(at, stored) => {
                if self.corpus.is_shared() {
                    let known = stored.iter().map(|row| (row.id, at));
                    self.looked.known.extend(known);
                }
                let mut rows = self.index.rows();
                stored.iter().for_each(|row| rows.put(row, self.full_scan));
            }
            IndexEvent::Changed(ids) => self.read_again(ids).await?,
            IndexEvent::Removed(messages) => self.removed += messages,
            IndexEvent::Flush(reply) => drop(reply.send(())), // the requester may have gone
        }
        Ok(())
    }

    /// Rereads the rows of these messages from the tables.
    async fn read_again(&mut self, ids: Vec<MessageId>) -> Result<()> {
        let found = match self.corpus.indexable_of(&self.model, ids.clone()).await {
            Ok(found) => found,
            Err(cause) => {
                self.index.missed.store(true, Ordering::Release); // the full scan will see them
                return Err(cause);
            }
        };
        let mut rows = self.index.rows();
        let there: std::collections::HashSet<_> = found.iter().map(|row| row.id).collect();
        for gone in ids.iter().filter(|id| !there.contains(id)) {
            rows.remove(*gone);
        }
        found.iter().for_each(|row| rows.put(row, self.full_scan));
        Ok(())
    }

    /// Polls for vectors that other nodes have stored.
    async fn look(&mut self) -> Result<()> {
        let (began, now) = (Instant::now(), self.service.now());
        let (mut since, mut after) = (self.looked.since, None);
        loop {
            let page = self.corpus.embedded_since(since, after, LOOK_PAGE).await?;
            let is_new = |(at, id): &&(Timestamp, MessageId)| self.looked.known.get(id) != Some(at);
            let new: Vec<_> = page.iter().filter(is_new).copied().collect();
            if !new.is_empty() {
                self.read_again(new.iter().map(|(_, id)| *id).collect())
                    .await?;
                self.looked
                    .known
                    .extend(new.into_iter().map(|(at, id)| (id, at)));
            }
            match page.last() {
                Some(&(at, id)) if page.len() == LOOK_PAGE => (since, after) = (at, Some(id)),
                _ => break,
            }
        }
        let since = before(now);
        self.looked.since = since;
        self.looked.known.retain(|_, at| *at >= since);
        self.looked.due = Instant::now() + LOOK_EVERY + began.elapsed() * SHARE;
        Ok(())
    }

    fn is_full_scan_due(&self) -> bool {
        let (ended, took) = self.last_full_scan;
        let rest = if self.removed > 0 {
            FULL_SCAN_AGAIN.max(took * SHARE)
        } else if self.corpus.is_shared() {
            FULL_SCAN_EVERY
        } else {
            return false;
        };
        ended.elapsed() >= rest
    }

    fn begin(&mut self) {
        self.full_scan = self.full_scan.wrapping_add(1);
        self.removed = 0;
        self.scanning = Some(FullScan {
            after: None,
            began: Instant::now(),
        });
    }

    /// One page of the full scan.
    async fn page(&mut self) -> Result<()> {
        let Some(FullScan { after, began }) = self.scanning else {
            return Ok(());
        };
        let page = self.corpus.indexable(&self.model, after, PAGE).await?;
        let mut rows = self.index.rows();
        page.rows
            .iter()
            .for_each(|row| rows.put(row, self.full_scan));
        self.scanning = page.next.map(|next| FullScan {
            after: Some(next),
            began,
        });
        if self.scanning.is_some() {
            return Ok(());
        }
        let (gone, there) = (rows.remove_unseen(self.full_scan), rows.len());
        drop(rows);
        self.last_full_scan = (Instant::now(), began.elapsed());
        self.counted = Instant::now() - LOOK_EVERY;
        if self.index.complete.send_replace(true) {
            tracing::debug!(
                messages = there,
                gone,
                took_ms = rounded_ms(began.elapsed()),
                "the search index was compared with the tables"
            );
        } else {
            tracing::info!(
                messages = there,
                took_ms = rounded_ms(began.elapsed()),
                "the search index is complete"
            );
        }
        Ok(())
    }
}

/// The time from which on a vector may be new to this node.
fn before(now: Timestamp) -> Timestamp {
    Timestamp::from_ms(now.ms() - LATE.as_millis() as i64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::super::{EVENTS, IndexMode};
    use super::*;
    use crate::{ServiceParts, Settings};
    use guestbook_core::{Content, GuestId, ManualClock, NewMessage, Role, Ttl, Vector};
    use guestbook_embed::table::StaticTable;
    use guestbook_storage::database::{Batch, Embedding, Entry, Group, Stores, TableSettings};
    use guestbook_storage::memory::{MemoryDatabase, MemoryLists};
    use std::sync::Arc;
    use uuid::Uuid;

    /// A service without background tasks: only the test follows.
    fn service() -> Service {
        let embedder = Arc::new(StaticTable::new());
        let tables = TableSettings {
            list_ttl: Ttl(Duration::from_secs(60)),
            retention: None,
            model: Some(guestbook_embed::Embedder::model(&*embedder).clone()),
            cache_backend: "memory",
            text_index: false,
        };
        let parts = ServiceParts {
            database: Stores::of(Arc::new(MemoryDatabase::new(tables))),
            lists: Arc::new(MemoryLists::new()),
            embedder: Some(embedder),
            clock: Arc::new(ManualClock::new(Timestamp::from_ms(0))),
        };
        let settings = Settings {
            indexing: IndexMode::On,
            ..Settings::default()
        };
        Service::inspect(parts, settings)
    }

    /// Stores messages without notifying the index.
    async fn record(service: &Service, messages: u128) {
        let guest = GuestId::parse("g1").unwrap();
        let entry = |n: u128| {
            let content = Content::parse("hello", 100).unwrap();
            let (id, at) = (MessageId(Uuid::from_u128(n)), Timestamp::from_ms(0));
            let message = NewMessage::new(id, guest.clone(), Role::User, content, at);
            let vector = Vector::quantise(&[1.0; 256], 256).unwrap();
            Entry {
                message: message.with_client_id(id),
                embedding: Embedding::Vector(vector),
            }
        };
        let groups = (1..=messages).map(|n| Group(vec![entry(n)])).collect();
        let batch = Batch {
            groups,
            ..Batch::default()
        };
        service
            .stores()
            .chats
            .record(Arc::new(batch))
            .await
            .unwrap();
    }

    async fn follow(follower: &mut Indexer<'_>) -> usize {
        while follower.scanning.is_some()
            || !follower.events.is_empty()
            || follower.index.missed.load(Ordering::Relaxed)
        {
            follower.step().await.unwrap();
        }
        follower.index.rows().len()
    }

    fn follower(service: &Service) -> Indexer<'_> {
        let events = service.0.index.events.lock().unwrap().take().unwrap();
        let model = service.parts().embedder.as_ref().unwrap().model().clone();
        Indexer::new(service, events, model)
    }

    #[tokio::test]
    async fn what_the_index_was_not_told_of_is_found_by_scanning_again() {
        let service = service();
        record(&service, 3).await;
        let mut follower = follower(&service);
        assert_eq!(follow(&mut follower).await, 3);
        record(&service, 5).await;
        for _ in 0..=EVENTS {
            service.0.index.updated(vec![MessageId(Uuid::from_u128(1))]);
        }
        assert_eq!(follow(&mut follower).await, 5);
    }

    #[tokio::test]
    async fn a_full_scan_of_many_pages_takes_in_everything_and_lets_go_of_what_is_gone() {
        let (service, many) = (service(), PAGE as u128 * 2 + 1);
        record(&service, many).await;
        let mut follower = follower(&service);
        assert_eq!(follow(&mut follower).await, PAGE * 2 + 1);
        let guest = GuestId::parse("g1").unwrap();
        let chats = &service.stores().chats;
        chats.erase(&guest, service.now()).await.unwrap();
        record(&service, 7).await;
        follower.begin();
        assert_eq!(follow(&mut follower).await, 7);
    }
}
