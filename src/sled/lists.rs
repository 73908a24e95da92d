//! The open store: the list operations on the worker's thread.

use super::changes::{ChangeSet, Trees, read_head};
use super::fault::{SledFault, SledResult};
use super::keys;
use super::records::{StoredHead, decode_head, decode_item};
use guestbook_core::{GuestId, Timestamp};
use guestbook_storage::Stats;
use guestbook_storage::list_cache::{Append, Applied, Head, Item, ListPage, ListRange, NewLife};
use guestbook_storage::path::parent;
use guestbook_storage::probe::LastProbe;
use sled::{Db, Tree};
use std::fs::{self, File};
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};
use uuid::Uuid;

const HEADS_READ_AT_START: usize = 1_000;
/// Due lists looked up at once.
const SWEEP_AT_ONCE: usize = 64;

/// An open store. Its owner is the only one that reads or writes it.
#[derive(Debug)]
pub(super) struct SledStore {
    path: PathBuf,
    db: Db,
    pub(super) trees: Trees,
    meta: Tree,
    incarnation: Uuid,
    /// Identifies this opening of the store, so that a flush of an earlier one is not counted for it.
    opening: Uuid,
    /// Changes since the store was opened, and how many of them are on disk.
    written: u64,
    synced: u64,
    /// Set after a failure until one flush has failed for it: the flush's caller may mean writes of an earlier opening.
    may_lack_earlier_writes: bool,
    /// The outcome of the last write probe.
    probe: LastProbe,
}

impl SledStore {
    /// Wraps a database that was just opened, and reads the first heads to find gross damage now. The comparison with the tables finds
    /// the rest: reading half a million heads was most of a start.
    pub(super) fn start(path: &Path, db: Db) -> SledResult<Self> {
        let trees = Trees {
            items: db.open_tree("items")?,
            heads: db.open_tree("heads")?,
            expiry: db.open_tree("expiry")?,
        };
        let meta = db.open_tree("meta")?;
        let incarnation = incarnation(&db, &meta)?;
        for head in trees.heads.iter().take(HEADS_READ_AT_START) {
            head?;
        }
        let mut store = Self {
            path: path.to_owned(),
            db,
            trees,
            meta,
            incarnation,
            opening: Uuid::new_v4(),
            written: 1, // opening may have written too
            synced: 0,
            may_lack_earlier_writes: false,
            probe: LastProbe::default(),
        };
        store.sync_names()?;
        store.flush()?;
        Ok(store)
    }

    /// Marks this store as the replacement of a failed one.
    pub(super) fn in_place_of_another(mut self) -> Self {
        self.may_lack_earlier_writes = true;
        self
    }

    /// The store's id.
    pub(super) fn incarnation(&self) -> Uuid {
        self.incarnation
    }

    /// Whether it has lists of tables with another epoch, by its first heads.
    pub(super) fn are_of_others(&self, epoch: Uuid) -> SledResult<bool> {
        for head in self.trees.heads.iter().take(HEADS_READ_AT_START) {
            let others = decode_head(&head?.1).is_ok_and(|it| it.head.origin.epoch != epoch);
            if others {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads a small record, and probes a write: sled keeps failing after its first error.
    pub(super) fn check(&mut self) -> SledResult<()> {
        self.db.context.global_error()?;
        if self.meta.get(keys::INCARNATION)?.is_none() {
            return Err(SledFault::Record("the store has lost its id".into()));
        }
        if self.probe.last().is_none() {
            self.meta.insert(keys::PROBE, &[])?;
            drop(self.probe.note(Ok(())));
        }
        Ok(())
    }

    /// The number of lists, for which every head is read, and the size on disk.
    pub(super) fn stats(&self) -> SledResult<Stats> {
        let mut heads = self.trees.heads.iter();
        Ok(Stats {
            entries: heads.try_fold(0, |count, head| head.map(|_| count + 1))?,
            bytes: self.db.size_on_disk()?,
        })
    }

    /// The heads of these guests.
    pub(super) fn heads(&self, guests: &[GuestId]) -> SledResult<Vec<Option<Head>>> {
        let heads = guests.iter().map(|guest| self.head(guest));
        heads.map(|head| Ok(head?.map(|it| it.head))).collect()
    }

    /// Appends; see `ListCache::apply`.
    pub(super) fn apply(&mut self, appends: &[Append]) -> SledResult<Vec<Applied>> {
        self.change(|changes| appends.iter().map(|it| changes.append(it)).collect())
    }

    /// Sets a list to exactly these items.
    pub(super) fn replace(&mut self, list: &Append) -> SledResult<()> {
        self.change(|changes| changes.replace(list))
    }

    /// Removes lists.
    pub(super) fn remove(&mut self, guests: &[GuestId]) -> SledResult<()> {
        self.change(|changes| {
            let mut removed = guests.iter().map(|guest| changes.remove(guest));
            removed.try_for_each(|existed| existed.map(drop))
        })
    }

    /// Sets the expiry of lists; see `ListCache::retime`.
    pub(super) fn retime(&mut self, lists: &[NewLife]) -> SledResult<()> {
        self.change(|changes| lists.iter().try_for_each(|new| changes.retime(new)))
    }

    /// Part of the live list of a guest at `now`.
    pub(super) fn range(
        &self,
        guest: &GuestId,
        range: ListRange,
        now: Timestamp,
    ) -> SledResult<Option<ListPage>> {
        let live = self.head(guest)?.map(|stored| stored.head);
        let Some(head) = live.filter(|head| head.expires_at > now) else {
            return Ok(None);
        };
        let first = range.from.clamp(head.from, head.next);
        let records = self.records(guest, first..head.next, range)?;
        let items = (first..)
            .zip(&records)
            .map(|(sequence, record)| read_item(guest, sequence, record))
            .collect::<SledResult<_>>()?;
        Ok(Some(ListPage { head, first, items }))
    }

    /// Removes due lists, and re-arms those whose expiry was extended.
    pub(super) fn sweep(&mut self, now: Timestamp, limit: usize) -> SledResult<usize> {
        let mut removed = 0;
        while removed < limit {
            let most = SWEEP_AT_ONCE.min(limit - removed);
            let entries = self.trees.expiry.range(keys::due(now)).keys().take(most);
            let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
            if entries.is_empty() {
                break;
            }
            removed += self.change(|changes| {
                entries.iter().try_fold(0, |count, entry| {
                    Ok(count + usize::from(changes.expire_entry(entry, now)?))
                })
            })?;
        }
        Ok(removed)
    }

    /// The guests that have a list, in ascending order.
    pub(super) fn guests(&self, after: Option<&GuestId>, limit: usize) -> SledResult<Vec<GuestId>> {
        let start = after.map_or(Bound::Unbounded, |guest| Bound::Excluded(keys::head(guest)));
        let heads = self
            .trees
            .heads
            .range::<&[u8], _>((start, Bound::Unbounded))
            .keys();
        heads
            .filter_map(|key| key.map(|key| keys::guest(&key)).transpose())
            .take(limit)
            .map(|guest| Ok(guest?))
            .collect()
    }

    /// Returns once everything written since the store was opened survives a power cut.
    pub(super) fn flush(&mut self) -> SledResult<()> {
        let Some(flush) = self.hand_over()? else {
            return Ok(());
        };
        flush.sync()?;
        self.end_flush(&flush)
    }

    /// Writes everything to the kernel; the remaining wait for the disk does not need the store. `None` if nothing is pending.
    pub(super) fn begin_flush(&mut self) -> SledResult<Option<Flush>> {
        if std::mem::take(&mut self.may_lack_earlier_writes) {
            return Err(SledFault::Reopened);
        }
        self.hand_over()
    }

    /// sled's own flush does not wait for the disk: it only asks the kernel to begin writing.
    fn hand_over(&mut self) -> SledResult<Option<Flush>> {
        if self.synced == self.written {
            return Ok(None);
        }
        self.db.flush()?;
        Ok(Some(Flush {
            path: self.path.clone(),
            opening: self.opening,
            written: self.written,
        }))
    }

    /// Records a flush that has reached the disk, if it was of this opening.
    pub(super) fn end_flush(&mut self, flush: &Flush) -> SledResult<()> {
        if flush.opening != self.opening {
            return Err(SledFault::Reopened);
        }
        self.synced = self.synced.max(flush.written);
        Ok(())
    }

    /// Writes before a failure count as written.
    fn change<R>(
        &mut self,
        work: impl FnOnce(&mut ChangeSet<'_>) -> SledResult<R>,
    ) -> SledResult<R> {
        let mut changes = ChangeSet::new(&self.trees);
        let result = work(&mut changes);
        self.written += u64::from(changes.has_written);
        result
    }

    fn head(&self, guest: &GuestId) -> SledResult<Option<StoredHead>> {
        let record = self.trees.heads.get(keys::head(guest))?;
        Ok(record.and_then(|record| read_head(guest, &record)))
    }

    /// The records of consecutive items, joined from their chunks, to the end of `sequences` or of `range`. The checksum detects
    /// a missing last chunk.
    fn records(
        &self,
        guest: &GuestId,
        sequences: Range<u64>,
        range: ListRange,
    ) -> SledResult<Vec<Vec<u8>>> {
        let mut records: Vec<Vec<u8>> = Vec::new();
        let (mut pieces, mut bytes) = (0, 0);
        let hole = |at: u64| SledFault::Record(format!("list of {guest}: item {at} is not whole"));
        for entry in self
            .trees
            .items
            .range(keys::items(guest, sequences.clone()))
        {
            let (key, piece) = entry?;
            let here = sequences.start + records.len() as u64;
            match (keys::place(&key), records.last_mut()) {
                (Some((sequence, 0)), _) if sequence == here => {
                    if records.len() == range.limit || bytes >= range.bytes {
                        return Ok(records);
                    }
                    records.push(piece.to_vec());
                    pieces = 1;
                }
                (Some((sequence, chunk)), Some(record))
                    if sequence + 1 == here && chunk == pieces =>
                {
                    record.extend_from_slice(&piece);
                    pieces += 1;
                }
                _ => return Err(hole(here)),
            }
            bytes += piece.len();
        }
        let end = sequences.start + records.len() as u64;
        if end == sequences.end {
            Ok(records)
        } else {
            Err(hole(end))
        }
    }

    /// A new file's name survives a power cut only once its directory is synced.
    fn sync_names(&self) -> SledResult<()> {
        sync(&self.path.join("conf"))?;
        sync(&self.path.join("blobs"))?;
        sync(&self.path)?;
        sync(parent(&self.path))
    }
}

/// Writes handed to the kernel that have yet to reach the disk.
#[derive(Debug)]
pub(super) struct Flush {
    path: PathBuf,
    opening: Uuid,
    written: u64,
}

impl Flush {
    /// Waits for the disk.
    pub(super) fn sync(&self) -> SledResult<()> {
        self.sync_blobs()?;
        sync(&self.path.join("db"))
    }

    /// Pages too large for the file have files of their own; values of at most 4,000 bytes need none.
    fn sync_blobs(&self) -> SledResult<()> {
        let folder = self.path.join("blobs");
        let failed = |cause| SledFault::Io("reading the blobs failed", cause);
        let mut found = false;
        for blob in fs::read_dir(&folder).map_err(failed)? {
            found = true;
            sync(&blob.map_err(failed)?.path())?;
        }
        if found { sync(&folder) } else { Ok(()) }
    }
}

fn incarnation(db: &Db, meta: &Tree) -> SledResult<Uuid> {
    match meta.get(keys::INCARNATION)? {
        Some(bytes) => Uuid::from_slice(&bytes).map_err(|_| SledFault::Forgotten),
        None if db.was_recovered() => Err(SledFault::Forgotten),
        None => {
            let id = Uuid::new_v4();
            meta.insert(keys::INCARNATION, id.as_bytes())?;
            Ok(id)
        }
    }
}

fn read_item(guest: &GuestId, sequence: u64, record: &[u8]) -> SledResult<Item> {
    decode_item(record)
        .map_err(|reason| SledFault::Record(format!("list of {guest}: item {sequence}: {reason}")))
}

fn sync(path: &Path) -> SledResult<()> {
    let failed = |cause| SledFault::Io("a file of the store cannot be opened", cause);
    let file = File::open(path).map_err(failed)?;
    file.sync_all().map_err(SledFault::Unsynced)
}
