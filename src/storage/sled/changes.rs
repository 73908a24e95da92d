//! A change to lists, planned in memory and committed in one transaction.
//!
//! All reading is done while planning: the worker's thread is the only writer, so nothing can change in between. The
//! transaction then only writes what was planned, and may be run again by sled without harm.

use super::fault::{Fault, Outcome};
use super::keys;
use super::records::{StoredHead, decode_head, encode_head, encode_item};
use crate::chat::{GuestId, Timestamp};
use crate::storage::list_cache::{Append, Applied, Head, Item};
use sled::transaction::{TransactionError, Transactional};
use sled::{Batch, Tree};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;

/// A leaf of sled holds about 17 entries, and a page above 128 KiB becomes a file of its own, of which thousands pile up:
/// values of 12 KB took 20 times their size on disk, values of this size do not.
pub(super) const VALUE_BYTES: usize = 4_000;

/// The trees that a change is about.
#[derive(Debug)]
pub(super) struct Trees {
    pub(super) items: Tree,
    pub(super) heads: Tree,
    pub(super) expiry: Tree,
}

/// Writes that are planned and not yet committed, and the trees as they will look afterwards.
pub(super) struct Changes<'a> {
    items: Overlay<'a>,
    heads: Overlay<'a>,
    expiry: Overlay<'a>,
}

impl<'a> Changes<'a> {
    /// No change yet.
    pub(super) fn new(trees: &'a Trees) -> Self {
        Self {
            items: Overlay::new(&trees.items),
            heads: Overlay::new(&trees.heads),
            expiry: Overlay::new(&trees.expiry),
        }
    }

    /// Plans an append, as `ListCache::apply` describes it.
    pub(super) fn append(&mut self, append: &Append) -> Outcome<Applied> {
        let stored = self.head(&append.guest)?;
        let (end, first) = (end_of(append), append.first);
        match stored.filter(|stored| stored.head.origin == append.origin) {
            // Late: the list has gone on since, and so has its expiry.
            Some(stored) if end < stored.head.next => Ok(Applied::AlreadyThere),
            Some(stored) if first <= stored.head.next && append.from >= stored.head.from => {
                self.extend(append, &stored)
            }
            // Whatever the list lacks, an append that begins a window brings all of it.
            _ if first == append.from && !append.items.is_empty() => {
                self.replace(append)?;
                Ok(Applied::Stored)
            }
            _ => Ok(Applied::Gap),
        }
    }

    /// Plans a list of exactly these items.
    pub(super) fn replace(&mut self, list: &Append) -> Outcome<()> {
        let reaches_further = |old: Head| {
            (old.origin, old.from) == (list.origin, list.first) && old.next > end_of(list)
        };
        let old = self.head(&list.guest)?.map(|stored| stored.head);
        if !list.items.is_empty() && old.is_some_and(reaches_further) {
            return Ok(());
        }
        self.remove(&list.guest)?;
        if list.items.is_empty() {
            return Ok(());
        }
        for (sequence, item) in numbered(list) {
            self.put_item(&list.guest, sequence, item)?;
        }
        let head = Head {
            origin: list.origin,
            from: list.first,
            next: end_of(list),
            expires_at: list.expires_at,
        };
        self.put_head(&list.guest, head, None)
    }

    /// Plans the removal of everything a guest has, also of what a damaged head does not know of.
    pub(super) fn remove(&mut self, guest: &GuestId) -> Outcome<()> {
        if let Some(stored) = self.head(guest)? {
            self.expiry.remove(keys::expiry(stored.indexed_at, guest));
        }
        self.heads.remove(keys::head(guest).to_vec());
        self.items.remove_range(keys::all_items(guest))
    }

    /// Settles a due entry of the expiry tree: removes the list, or re-arms one that lives longer than was planned. Whether
    /// a list was removed.
    pub(super) fn settle(&mut self, entry: &[u8], now: Timestamp) -> Outcome<bool> {
        self.expiry.remove(entry.to_vec());
        let Some((at, guest)) = keys::waiting(entry) else {
            return Ok(false);
        };
        match self.head(&guest)? {
            Some(stored) if stored.head.expires_at > now => {
                // An entry that is not the head's own is a leftover of a damaged head.
                if stored.indexed_at == at {
                    self.put_head(&guest, stored.head, None)?;
                }
                Ok(false)
            }
            _ => {
                let existed = self.heads.get(keys::head(&guest))?.is_some();
                self.remove(&guest)?;
                Ok(existed)
            }
        }
    }

    /// Writes what was planned, all or nothing; by how much the number of lists changed.
    pub(super) fn commit(self) -> Outcome<i64> {
        let more = self.heads.growth()?;
        let trees = (self.items.tree, self.heads.tree, self.expiry.tree);
        let batches = (self.items.batch(), self.heads.batch(), self.expiry.batch());
        let written = trees.transaction(|(items, heads, expiry)| {
            items.apply_batch(&batches.0)?;
            heads.apply_batch(&batches.1)?;
            expiry.apply_batch(&batches.2)?;
            Ok(())
        });
        match written {
            Ok(()) => Ok(more),
            Err(TransactionError::Storage(cause)) => Err(Fault::Sled(cause)),
            Err(TransactionError::<Infallible>::Abort(never)) => match never {},
        }
    }

    /// Whether nothing is planned.
    pub(super) fn is_empty(&self) -> bool {
        [&self.items, &self.heads, &self.expiry]
            .iter()
            .all(|overlay| overlay.writes.is_empty())
    }

    /// Adds what a list does not have yet, and drops what its window has left behind.
    fn extend(&mut self, append: &Append, stored: &StoredHead) -> Outcome<Applied> {
        let old = stored.head;
        let next = old.next.max(end_of(append));
        let from = old.from.max(append.from).min(next);
        let grows = next > old.next;
        let missing = numbered(append).filter(|&(at, _)| at >= old.next && at >= from);
        for (sequence, item) in missing {
            self.put_item(&append.guest, sequence, item)?;
        }
        if from > old.from {
            let left_behind = old.from..from.min(old.next);
            self.items
                .remove_range(keys::items(&append.guest, left_behind))?;
        }
        // A repeated append may be an old one, which must not cut the life of the list short.
        let expires_at = match grows {
            true => append.expires_at,
            false => old.expires_at.max(append.expires_at),
        };
        let head = Head {
            from,
            next,
            expires_at,
            ..old
        };
        if head != old {
            self.put_head(&append.guest, head, Some(stored.indexed_at))?;
        }
        Ok(match grows {
            true => Applied::Stored,
            false => Applied::AlreadyThere,
        })
    }

    /// The head of a guest as it will be. One that cannot be read counts as none: the caller then rebuilds the list.
    fn head(&self, guest: &GuestId) -> Outcome<Option<StoredHead>> {
        let record = self.heads.get(keys::head(guest))?;
        Ok(record.and_then(|record| read_head(guest, &record)))
    }

    /// `indexed_at` is where the list's entry in the expiry tree stands, if it has one. An entry that is early enough
    /// stays, so that a new message costs no write there.
    fn put_head(
        &mut self,
        guest: &GuestId,
        head: Head,
        indexed_at: Option<Timestamp>,
    ) -> Outcome<()> {
        let early_enough = indexed_at.filter(|&at| at <= head.expires_at);
        if early_enough.is_none() {
            if let Some(late) = indexed_at {
                self.expiry.remove(keys::expiry(late, guest));
            }
            self.expiry
                .put(keys::expiry(head.expires_at, guest), Vec::new());
        }
        let stored = StoredHead {
            head,
            indexed_at: early_enough.unwrap_or(head.expires_at),
        };
        self.heads
            .put(keys::head(guest).to_vec(), encode_head(&stored)?);
        Ok(())
    }

    fn put_item(&mut self, guest: &GuestId, sequence: u64, item: &Item) -> Outcome<()> {
        let record = encode_item(item)?;
        for (chunk, piece) in (0_u16..).zip(record.chunks(VALUE_BYTES)) {
            self.items
                .put(keys::item(guest, sequence, chunk), piece.to_vec());
        }
        Ok(())
    }
}

/// Reads a head's record; an unreadable one is logged and counts as none.
pub(super) fn read_head(guest: &GuestId, record: &[u8]) -> Option<StoredHead> {
    let read = decode_head(record);
    if let Err(reason) = read {
        tracing::warn!(%guest, reason, "the head of a list cannot be read; the list counts as missing until it is rebuilt");
    }
    read.ok()
}

fn numbered(append: &Append) -> impl Iterator<Item = (u64, &Item)> {
    (append.first..).zip(&append.items)
}

fn end_of(append: &Append) -> u64 {
    append.first.saturating_add(append.items.len() as u64)
}

/// A tree with planned writes over it.
struct Overlay<'a> {
    tree: &'a Tree,
    /// `None` is a removal.
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Overlay<'a> {
    fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            writes: BTreeMap::new(),
        }
    }

    fn get(&self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        match self.writes.get(key) {
            Some(planned) => Ok(planned.clone()),
            None => Ok(self.tree.get(key)?.map(|value| value.to_vec())),
        }
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    fn remove(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    fn remove_range(&mut self, range: Range<Vec<u8>>) -> Outcome<()> {
        for planned in self.writes.range_mut(range.clone()) {
            *planned.1 = None;
        }
        for key in self.tree.range(range).keys() {
            self.remove(key?.to_vec());
        }
        Ok(())
    }

    /// How many more keys the tree will have.
    fn growth(&self) -> Outcome<i64> {
        self.writes.iter().try_fold(0, |sum, (key, planned)| {
            let before = i64::from(self.tree.contains_key(key)?);
            Ok(sum + i64::from(planned.is_some()) - before)
        })
    }

    fn batch(self) -> Batch {
        let mut batch = Batch::default();
        for (key, planned) in self.writes {
            match planned {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch
    }
}
