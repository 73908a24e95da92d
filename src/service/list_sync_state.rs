//! What has been done to the lists and is not noted in the tables yet, and whether the list store is to be tried at all.

use guestbook_core::{ConversationId, GuestId};
use guestbook_storage::database::SyncedRange;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// What has been done to the lists and is not noted in the tables yet.
#[derive(Debug, Default)]
pub(super) struct ListSyncState {
    notes: Mutex<SyncNotes>,
    /// Wakes the reconciliation task: a session list lacks something.
    pub(super) wake: Notify,
    /// Set while the list store fails: batches do not wait for it, the mending task tries it.
    suspended: AtomicBool,
    /// Set when every list is to be compared with the tables, though the store is the same.
    compare: AtomicBool,
    /// Held while notes are taken out and written, so that whoever marks as synced next does not pass by those on their way.
    pub(super) settling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct SyncNotes {
    /// Applied, but a power cut could take it back.
    applied: Vec<SyncedRange>,
    /// Where a conversation is in `applied`, to keep one note for each.
    places: HashMap<ConversationId, usize>,
    /// Removed, but a power cut could bring it back.
    removed: Vec<GuestId>,
    /// Refused by the list store since: an earlier removal of the same guest must not pay this one's outbox entry.
    refused: HashSet<GuestId>,
    /// Guests whose list cannot be read or may be of another history: until it is removed and rebuilt.
    suspect: HashSet<GuestId>,
    /// Durable in the lists, to be noted with the next batch.
    durable: Vec<SyncedRange>,
}

impl ListSyncState {
    /// Has the next mending compare every list with the tables.
    pub(super) fn compare(&self) {
        self.compare.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked for since the last time.
    pub(super) fn take_compare(&self) -> bool {
        self.compare.swap(false, Ordering::Relaxed)
    }

    pub(super) fn note_applied(&self, synced_ranges: SyncedRange) {
        let mut notes = self.notes();
        let place = notes.places.get(&synced_ranges.conversation).copied();
        match place.map(|place| &mut notes.applied[place]) {
            Some(note) if note.next + synced_ranges.messages.len() as u64 == synced_ranges.next => {
                note.next = synced_ranges.next;
                note.messages.extend(synced_ranges.messages);
            }
            _ => {
                let place = notes.applied.len();
                notes.places.insert(synced_ranges.conversation, place);
                notes.applied.push(synced_ranges);
            }
        }
    }

    pub(super) fn note_removed(&self, guest: GuestId) {
        let mut notes = self.notes();
        notes.refused.remove(&guest);
        notes.removed.push(guest);
    }

    pub(super) fn note_refused(&self, guest: GuestId) {
        self.notes().refused.insert(guest);
    }

    /// Of lists that were removed, those that no later removal was refused for.
    pub(super) fn still_removed(&self, removed: Vec<GuestId>) -> Vec<GuestId> {
        let notes = self.notes();
        removed
            .into_iter()
            .filter(|guest| !notes.refused.contains(guest))
            .collect()
    }

    /// Some of what is durable, about `messages` messages, for a batch to carry.
    pub(super) fn take_durable(&self, messages: usize) -> Vec<SyncedRange> {
        let mut notes = self.notes();
        let mut taken = 0;
        let fits = notes.durable.iter().take_while(|synced_ranges| {
            let room = taken < messages;
            taken += synced_ranges.messages.len();
            room
        });
        let count = fits.count();
        notes.durable.drain(..count).collect()
    }

    pub(super) fn put_back_durable(&self, synced_ranges: Vec<SyncedRange>) {
        self.notes().durable.extend(synced_ranges);
    }

    pub(super) fn take_applied(&self) -> (Vec<SyncedRange>, Vec<GuestId>) {
        let mut notes = self.notes();
        notes.places.clear();
        (
            std::mem::take(&mut notes.applied),
            std::mem::take(&mut notes.removed),
        )
    }

    /// Has a guest's list removed and rebuilt by the mending task, which does not forget it before that is done.
    pub(super) fn mark_suspect(&self, guest: GuestId) {
        self.notes().suspect.insert(guest);
        self.wake();
    }

    pub(super) fn suspect(&self) -> Vec<GuestId> {
        self.notes().suspect.iter().cloned().collect()
    }

    pub(super) fn clear_suspect(&self, guest: &GuestId) {
        self.notes().suspect.remove(guest);
    }

    /// Makes the mending task look at what the tables say the lists lack.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Whether batches should not try the list store at all.
    pub(super) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }

    /// Stops trying the list store with every batch until the mending task finds it well again.
    pub(super) fn suspend(&self, cause: &str) {
        if !self.suspended.swap(true, Ordering::Relaxed) {
            tracing::error!(
                step = "list",
                cause,
                "the list store failed; messages are saved and their lists follow later"
            );
        }
        self.wake();
    }

    pub(super) fn resume(&self) {
        if self.suspended.swap(false, Ordering::Relaxed) {
            tracing::info!("the list store responds again; session lists are being reconciled");
        }
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, SyncNotes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
