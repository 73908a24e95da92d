//! Makes the index and keeps it true: a full scan over the tables, then what this node and others commit.

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

/// Rows of a page of a full scan.
const PAGE: usize = 2000;
/// News taken in before anything else is looked at.
const AT_ONCE: usize = 64;
/// How long to wait after the database failed.
const DATABASE_WAIT: Duration = Duration::from_secs(1);
/// How often other nodes' vectors are looked for, and how often it is counted what there is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What the clocks of two nodes may differ by, and the time from that of a batch to its commit, together.
const LATE: Duration = Duration::from_secs(30);
/// Times of other nodes' vectors that are read at a time.
const LOOK_PAGE: usize = 10_000;
/// Where tables are shared, others remove messages, and may be later than [`LATE`].
const FULL_SCAN_EVERY: Duration = Duration::from_secs(3600);
/// A full scan for the sake of what is gone: not before this, and no larger a share of the time than one in so many.
const FULL_SCAN_AGAIN: Duration = Duration::from_secs(10);
const SHARE: u32 = 20;

/// Follows the tables, until the service stops.
pub(crate) async fn follow_loop(service: Service) {
    let index = &service.0.index;
    let heard = index
        .heard
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .take();
    let (Some(heard), Some(embedder)) = (heard, service.0.parts.embedder.clone()) else {
        return service.stopped().await; // there is nothing to do
    };
    let mut awake = index.awake.subscribe();
    tokio::select! {
        _ = awake.wait_for(|awake| *awake) => {}
        () = service.stopped() => return,
    }
    let mut follower = Indexer::new(&service, heard, embedder.model().clone());
    while !service.is_stopping() {
        if let Err(cause) = follower.step().await {
            service.note_fatal();
            tracing::error!(step = "index", %cause, "the tables cannot be read; the search index stands still and goes on when they can");
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
    heard: mpsc::Receiver<IndexEvent>,
    /// The number of the full scan, which rows are marked with.
    full_scan: u8,
    scanning: Option<FullScan>,
    /// Messages that were removed since the last full scan began.
    removed: u64,
    /// When the last full scan ended, and how long it took.
    walked: (Instant, Duration),
    looked: RecentVectors,
    counted: Instant,
}

/// A full scan that is under way.
struct FullScan {
    after: Option<MessageId>,
    began: Instant,
}

/// What is known of the vectors that were stored within [`LATE`], here or elsewhere.
struct RecentVectors {
    since: Timestamp,
    known: HashMap<MessageId, Timestamp>,
    due: Instant,
}

impl<'a> Indexer<'a> {
    fn new(service: &'a Service, heard: mpsc::Receiver<IndexEvent>, model: ModelId) -> Self {
        let now = Instant::now();
        Self {
            service,
            index: &service.0.index,
            corpus: &*service.0.index.corpus,
            model,
            heard,
            full_scan: 1,
            scanning: Some(FullScan {
                after: None,
                began: now,
            }),
            removed: 0,
            walked: (now, Duration::ZERO),
            looked: RecentVectors {
                since: before(service.now()),
                known: HashMap::new(),
                due: now,
            },
            counted: now - LOOK_EVERY,
        }
    }

    /// Does what is most urgent, or waits until something is.
    async fn step(&mut self) -> Result<()> {
        for _ in 0..AT_ONCE {
            let Ok(news) = self.heard.try_recv() else {
                break;
            };
            self.take_in(news).await?;
        }
        if self.index.missed.swap(false, Ordering::AcqRel) {
            tracing::debug!(
                "more was stored than the search index could take; it starts a full scan of the tables"
            );
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
            Some(news) = self.heard.recv() => self.take_in(news).await,
            () = tokio::time::sleep(LOOK_EVERY) => Ok(()),
            () = self.service.stopped() => Ok(()),
        }
    }

    async fn take_in(&mut self, news: IndexEvent) -> Result<()> {
        match news {
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
            IndexEvent::Asked(reply) => drop(reply.send(())), // whoever asked may have gone
        }
        Ok(())
    }

    /// Makes the rows of these messages what the tables say.
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

    /// Looks for what other nodes have stored.
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
        let (ended, took) = self.walked;
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
        self.walked = (Instant::now(), began.elapsed());
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

/// From when on a vector may be one that has not been seen.
fn before(now: Timestamp) -> Timestamp {
    Timestamp::from_ms(now.ms() - LATE.as_millis() as i64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::super::{IndexMode, NEWS};
    use super::*;
    use crate::{ServiceParts, Settings};
    use guestbook_core::{Content, GuestId, ManualClock, NewMessage, Role, Ttl, Vector};
    use guestbook_embed::table::StaticTable;
    use guestbook_storage::database::{Batch, Embedding, Entry, Group, Stores, TableSettings};
    use guestbook_storage::memory::{MemoryDatabase, MemoryLists};
    use std::sync::Arc;
    use uuid::Uuid;

    /// A service without its upkeep: nobody follows but the test.
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

    /// Stores messages behind the back of the index.
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
            || !follower.heard.is_empty()
            || follower.index.missed.load(Ordering::Relaxed)
        {
            follower.step().await.unwrap();
        }
        follower.index.rows().len()
    }

    fn follower(service: &Service) -> Indexer<'_> {
        let heard = service.0.index.heard.lock().unwrap().take().unwrap();
        let model = service.parts().embedder.as_ref().unwrap().model().clone();
        Indexer::new(service, heard, model)
    }

    #[tokio::test]
    async fn what_the_index_was_not_told_of_is_found_by_scanning_again() {
        let service = service();
        record(&service, 3).await;
        let mut follower = follower(&service);
        assert_eq!(follow(&mut follower).await, 3);
        record(&service, 5).await;
        for _ in 0..=NEWS {
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
