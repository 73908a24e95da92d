//! Writes changes to lists in an order that keeps every list intact at every moment.
//!
//! After a crash sled has a prefix of its log. So a head is written after its items and after its entry in the expiry tree, and
//! items that it no longer names are removed after it: wherever the log ends, a list is either as before the change or as after
//! it. Possible leftovers are items that no head names, which the guest's next list removes, and expiry entries without a list,
//! which are removed when they are due.
//!
//! sled's transactions would do this too. But each makes sled write everything twice, wait for the disk, and wake every thread:
//! that was nearly half of a list's cost.

use super::fault::SledResult;
use super::keys;
use super::records::{StoredHead, decode_head, encode_head, encode_item};
use guestbook_core::{GuestId, Timestamp};
use guestbook_storage::list_cache::{Append, Applied, Head, Item, NewLife};
use sled::Tree;
use std::ops::Range;

/// A leaf of sled holds about 17 entries, and a page above 128 KiB becomes a file of its own, of which thousands pile up:
/// values of 12 KB took 20 times their size on disk, values of this size do not.
pub(super) const VALUE_BYTES: usize = 4_000;

/// The trees that changes are written to.
#[derive(Debug)]
pub(super) struct Trees {
    pub(super) items: Tree,
    pub(super) heads: Tree,
    pub(super) expiry: Tree,
}

/// The changes so far. The worker's thread is the only writer, so nothing changes between a read and the following write.
pub(super) struct ChangeSet<'a> {
    trees: &'a Trees,
    /// Whether anything was written.
    pub(super) has_written: bool,
}

impl<'a> ChangeSet<'a> {
    /// No change yet.
    pub(super) fn new(trees: &'a Trees) -> Self {
        Self {
            trees,
            has_written: false,
        }
    }

    /// Appends; see `ListCache::apply`.
    pub(super) fn append(&mut self, append: &Append) -> SledResult<Applied> {
        let stored = self.head(&append.guest)?;
        let (end, first) = (end_of(append), append.first);
        match stored.filter(|stored| stored.head.origin == append.origin) {
            // Late: the list has newer items, and with them a newer expiry.
            Some(stored) if end < stored.head.next => Ok(Applied::AlreadyThere),
            Some(stored) if first <= stored.head.next && append.from >= stored.head.from => {
                self.extend(append, &stored)
            }
            // An append that begins a window has everything that the list lacks.
            _ if first == append.from && !append.items.is_empty() => {
                self.replace(append)?;
                Ok(Applied::Stored)
            }
            _ => Ok(Applied::Gap),
        }
    }

    /// Sets a list to exactly these items.
    pub(super) fn replace(&mut self, list: &Append) -> SledResult<()> {
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

    /// Removes everything of a guest, also items that a damaged head does not name; returns whether there was a head.
    pub(super) fn remove(&mut self, guest: &GuestId) -> SledResult<bool> {
        let head = self.trees.heads.remove(keys::head(guest))?;
        self.has_written |= head.is_some();
        self.remove_items(keys::all_items(guest))?;
        if let Some(stored) = head.as_ref().and_then(|record| read_head(guest, record)) {
            self.disarm(&keys::expiry(stored.indexed_at, guest))?;
        }
        Ok(head.is_some())
    }

    /// Sets a list's expiry, unless it is of another origin or has newer items.
    pub(super) fn retime(&mut self, new: &NewLife) -> SledResult<()> {
        let Some(stored) = self.head(&new.guest)? else {
            return Ok(());
        };
        let is_meant = (stored.head.origin, stored.head.next) == (new.origin, new.next);
        if !is_meant || stored.head.expires_at == new.expires_at {
            return Ok(());
        }
        let head = Head {
            expires_at: new.expires_at,
            ..stored.head
        };
        self.put_head(&new.guest, head, Some(stored.indexed_at))
    }

    /// Processes a due entry of the expiry tree: removes the list, or re-arms one whose expiry was extended. Returns whether a list
    /// was removed.
    pub(super) fn expire_entry(&mut self, entry: &[u8], now: Timestamp) -> SledResult<bool> {
        let mut existed = false;
        if let Some((at, guest)) = keys::waiting(entry) {
            match self.head(&guest)? {
                Some(stored) if stored.head.expires_at > now => {
                    // An entry that is not the head's own is a leftover.
                    if stored.indexed_at == at {
                        self.put_head(&guest, stored.head, None)?;
                    }
                }
                _ => existed = self.remove(&guest)?,
            }
        }
        self.disarm(entry)?;
        Ok(existed)
    }

    /// Appends the missing items, and drops those before its window.
    fn extend(&mut self, append: &Append, stored: &StoredHead) -> SledResult<Applied> {
        let old = stored.head;
        let next = old.next.max(end_of(append));
        let from = old.from.max(append.from).min(next);
        let grows = next > old.next;
        let missing = numbered(append).filter(|&(at, _)| at >= old.next && at >= from);
        for (sequence, item) in missing {
            self.put_item(&append.guest, sequence, item)?;
        }
        // A repeated append may be an old one, which must not shorten the list's life.
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
        if from > old.from {
            self.remove_items(keys::items(&append.guest, old.from..from.min(old.next)))?;
        }
        Ok(match grows {
            true => Applied::Stored,
            false => Applied::AlreadyThere,
        })
    }

    /// The head of a guest. An unreadable one counts as none: the caller then rebuilds the list.
    fn head(&self, guest: &GuestId) -> SledResult<Option<StoredHead>> {
        let record = self.trees.heads.get(keys::head(guest))?;
        Ok(record.and_then(|record| read_head(guest, &record)))
    }

    /// `indexed_at` is the time of the list's entry in the expiry tree, if it has one. An early entry stays, so that a new message
    /// costs no write there.
    fn put_head(
        &mut self,
        guest: &GuestId,
        head: Head,
        indexed_at: Option<Timestamp>,
    ) -> SledResult<()> {
        let early_enough = indexed_at.filter(|&at| at <= head.expires_at);
        let stored = StoredHead {
            head,
            indexed_at: early_enough.unwrap_or(head.expires_at),
        };
        if early_enough.is_none() {
            let entry = keys::expiry(head.expires_at, guest);
            self.trees.expiry.insert(entry, &[])?;
        }
        let record = encode_head(&stored)?;
        self.trees.heads.insert(keys::head(guest), record)?;
        self.has_written = true;
        match indexed_at.filter(|_| early_enough.is_none()) {
            Some(late) => self.disarm(&keys::expiry(late, guest)),
            None => Ok(()),
        }
    }

    fn put_item(&mut self, guest: &GuestId, sequence: u64, item: &Item) -> SledResult<()> {
        let record = encode_item(item)?;
        for (chunk, piece) in (0_u16..).zip(record.chunks(VALUE_BYTES)) {
            let key = keys::item(guest, sequence, chunk);
            self.trees.items.insert(key, piece)?;
        }
        self.has_written = true;
        Ok(())
    }

    fn remove_items(&mut self, range: Range<Vec<u8>>) -> SledResult<()> {
        for key in self.trees.items.range(range).keys() {
            self.trees.items.remove(key?)?;
            self.has_written = true;
        }
        Ok(())
    }

    fn disarm(&mut self, entry: &[u8]) -> SledResult<()> {
        self.has_written |= self.trees.expiry.remove(entry)?.is_some();
        Ok(())
    }
}

/// Decodes a head; an unreadable one is logged and counts as none.
pub(super) fn read_head(guest: &GuestId, record: &[u8]) -> Option<StoredHead> {
    let read = decode_head(record);
    if let Err(reason) = read {
        tracing::warn!(%guest, reason, "unreadable head of a list; the list counts as missing until it is rebuilt");
    }
    read.ok()
}

fn numbered(append: &Append) -> impl Iterator<Item = (u64, &Item)> {
    (append.first..).zip(&append.items)
}

fn end_of(append: &Append) -> u64 {
    append.first.saturating_add(append.items.len() as u64)
}
