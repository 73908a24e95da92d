//! The expiring lists in memory.

use super::{LOCATION, NAME, closed};
use crate::list_cache::{Append, Applied, Head, Item, ListCache, ListPage, ListRange, NewLife};
use crate::{Durability, DurabilityReport, Stats, Storage};
use async_trait::async_trait;
use guestbook_core::error::{Error, Result};
use guestbook_core::{GuestId, Timestamp};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// The session lists in memory. Shared as `Arc<dyn ListCache>`; dropping the last clone drops the data.
pub struct MemoryLists {
    incarnation: Uuid,
    /// `None` once closed.
    lists: Mutex<Option<MemoryListMap>>,
}

type MemoryListMap = BTreeMap<GuestId, LiveList>;

/// A list with all of its items.
#[derive(Clone)]
struct LiveList {
    head: Head,
    items: Vec<Item>,
}

impl LiveList {
    fn page(&self, range: ListRange) -> ListPage {
        let Head { from, next, .. } = self.head;
        let first = range.from.clamp(from, next);
        let mut page = ListPage {
            head: self.head,
            first,
            items: Vec::new(),
        };
        let mut bytes = 0;
        for item in self
            .items
            .iter()
            .skip((first - from) as usize)
            .take(range.limit)
        {
            if bytes >= range.bytes {
                break;
            }
            bytes += item.content.as_str().len();
            page.items.push(item.clone());
        }
        page
    }
}

impl MemoryLists {
    /// An empty store with a new incarnation.
    pub fn new() -> Self {
        Self {
            incarnation: Uuid::now_v7(),
            lists: Mutex::new(Some(MemoryListMap::new())),
        }
    }

    fn run<T>(
        &self,
        operation: &'static str,
        call: impl FnOnce(&mut MemoryListMap) -> T,
    ) -> Result<T> {
        let mut lists = self.lock();
        lists.as_mut().map(call).ok_or_else(|| closed(operation))
    }

    fn lock(&self) -> MutexGuard<'_, Option<MemoryListMap>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryLists {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = self.lock().as_ref().map(BTreeMap::len);
        f.debug_struct("MemoryLists")
            .field("lists", &lists)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for MemoryLists {
    fn name(&self) -> &'static str {
        NAME
    }

    fn location(&self) -> String {
        LOCATION.into()
    }

    async fn health(&self) -> Result<()> {
        self.run("health", |_| ())
    }

    fn fatal(&self) -> Option<Error> {
        None // nothing here can fail half-way
    }

    async fn durability(&self) -> Result<DurabilityReport> {
        Ok(DurabilityReport::new(Durability::Nothing, "in memory"))
    }

    async fn stats(&self) -> Result<Stats> {
        self.run("stats", |lists| {
            let items = || lists.values().flat_map(|list| &list.items);
            let bytes = |item: &Item| item.content.as_str().len() as u64;
            Stats {
                entries: items().count() as u64,
                bytes: items().map(bytes).sum(),
            }
        })
    }

    async fn flush(&self) -> Result<()> {
        self.run("flush", |_| ())
    }

    async fn close(&self) -> Result<()> {
        *self.lock() = None;
        Ok(())
    }
}

#[async_trait]
impl ListCache for MemoryLists {
    async fn incarnation(&self) -> Result<Uuid> {
        self.run("incarnation", |_| self.incarnation)
    }

    async fn heads(&self, guests: Vec<GuestId>) -> Result<Vec<Option<Head>>> {
        self.run("heads", |lists| {
            let head = |guest| lists.get(guest).map(|list| list.head);
            guests.iter().map(head).collect()
        })
    }

    async fn apply(&self, appends: Arc<Vec<Append>>) -> Result<Vec<Applied>> {
        self.run("apply", |lists| {
            let one = |append| apply(lists, append);
            appends.iter().map(one).collect()
        })
    }

    async fn replace(&self, list: Append) -> Result<()> {
        self.run("replace", |lists| {
            let new = begun(&list).head;
            let reaches_further = |old: &LiveList| {
                (old.head.origin, old.head.from) == (new.origin, new.from)
                    && old.head.next > new.next
            };
            if list.items.is_empty() {
                lists.remove(&list.guest);
            } else if !lists.get(&list.guest).is_some_and(reaches_further) {
                lists.insert(list.guest.clone(), begun(&list));
            }
        })
    }

    async fn retime(&self, lists: Vec<NewLife>) -> Result<()> {
        self.run("retime", |all| {
            for new in &lists {
                let list = all.get_mut(&new.guest);
                if let Some(LiveList { head, .. }) = list
                    && (head.origin, head.next) == (new.origin, new.next)
                {
                    head.expires_at = new.expires_at;
                }
            }
        })
    }

    async fn range(
        &self,
        guest: &GuestId,
        range: ListRange,
        now: Timestamp,
    ) -> Result<Option<ListPage>> {
        self.run("range", |lists| {
            let list = lists.get(guest);
            let live = list.filter(|list| now < list.head.expires_at);
            live.map(|list| list.page(range))
        })
    }

    async fn remove(&self, guests: Vec<GuestId>) -> Result<()> {
        self.run("remove", |lists| {
            for guest in &guests {
                lists.remove(guest);
            }
        })
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize> {
        self.run("sweep", |lists| {
            let expired = lists
                .iter()
                .filter(|(_, list)| list.head.expires_at <= now)
                .map(|(guest, _)| guest.clone());
            let expired: Vec<_> = expired.take(limit).collect();
            for guest in &expired {
                lists.remove(guest);
            }
            expired.len()
        })
    }

    async fn guests(&self, after: Option<&GuestId>, limit: usize) -> Result<Vec<GuestId>> {
        self.run("guests", |lists| {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let range = lists.range::<GuestId, _>((start, Bound::Unbounded));
            range.take(limit).map(|(guest, _)| guest.clone()).collect()
        })
    }
}

/// A list of exactly these items.
fn begun(append: &Append) -> LiveList {
    LiveList {
        head: Head {
            origin: append.origin,
            from: append.first,
            next: append.first + append.items.len() as u64,
            expires_at: append.expires_at,
        },
        items: append.items.clone(),
    }
}

fn apply(lists: &mut MemoryListMap, append: &Append) -> Applied {
    let applied = match lists.get_mut(&append.guest) {
        Some(list) if list.head.origin == append.origin => extend(list, append),
        _ => Applied::Gap,
    };
    // An append that begins a window has everything that the list lacks.
    if applied == Applied::Gap && append.first == append.from && !append.items.is_empty() {
        lists.insert(append.guest.clone(), begun(append));
        return Applied::Stored;
    }
    applied
}

/// Appends the items that a list of the same origin lacks.
fn extend(list: &mut LiveList, append: &Append) -> Applied {
    let head = &mut list.head;
    let end = append.first + append.items.len() as u64;
    if end < head.next {
        // Late: the list has newer items, and with them a newer expiry.
        return Applied::AlreadyThere;
    }
    if append.first > head.next || append.from < head.from {
        return Applied::Gap;
    }
    let new = (head.next - append.first) as usize;
    let dropped = (append.from.min(end) - head.from) as usize;
    let applied = match append.items.get(new..) {
        Some([]) | None => Applied::AlreadyThere,
        Some(items) => {
            list.items.extend_from_slice(items);
            Applied::Stored
        }
    };
    list.items.drain(..dropped);
    head.from += dropped as u64;
    head.next = end;
    head.expires_at = append.expires_at;
    applied
}
