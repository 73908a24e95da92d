//! List writes that are not yet marked as synced in the tables, and whether the list store is suspended.

use guestbook_core::{ConversationId, GuestId};
use guestbook_storage::database::SyncedRange;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct ListSyncState {
    notes: Mutex<SyncNotes>,
    /// Wakes the list reconciler.
    pub(super) wake: Notify,
    /// Set while the list store fails: batches do not wait for it, the reconciler retries it.
    suspended: AtomicBool,
    /// Set when every list must be compared with the tables, though the store is the same.
    compare: AtomicBool,
    /// Held while marks are taken and written, so that the next `mark_synced` does not overtake them.
    pub(super) marking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct SyncNotes {
    /// Applied, but not durable: a power cut could undo it.
    applied: Vec<SyncedRange>,
    /// The index of a conversation in `applied`, to keep one mark for each.
    places: HashMap<ConversationId, usize>,
    /// Removed, but not durable: a power cut could restore it.
    removed: Vec<GuestId>,
    /// Removals that the list store refused: an earlier successful removal must not clear this newer outbox entry.
    refused: HashSet<GuestId>,
    /// Guests whose list is unreadable or may be of another history, until it is removed and rebuilt.
    suspect: HashSet<GuestId>,
    /// Durable in the lists, to be marked as synced with the next batch.
    durable: Vec<SyncedRange>,
}

impl ListSyncState {
    /// Requests a comparison of every list with the tables.
    pub(super) fn compare(&self) {
        self.compare.store(true, Ordering::Relaxed);
    }

    /// Whether a comparison was requested since the last call.
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

    /// The removed lists of guests for whom no later removal was refused.
    pub(super) fn still_removed(&self, removed: Vec<GuestId>) -> Vec<GuestId> {
        let notes = self.notes();
        removed
            .into_iter()
            .filter(|guest| !notes.refused.contains(guest))
            .collect()
    }

    /// Durable marks of about `messages` messages, for a batch to carry.
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

    /// Has the reconciler remove and rebuild a guest's list; the mark stays until that is done.
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

    /// Wakes the reconciler to drain the outbox.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Whether batches should skip the list store.
    pub(super) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }

    /// Skips the list store in batches until the reconciler has used it successfully.
    pub(super) fn suspend(&self, cause: &str) {
        if !self.suspended.swap(true, Ordering::Relaxed) {
            tracing::error!(
                step = "list",
                cause,
                "the list store failed; messages are saved, their lists are updated later"
            );
        }
        self.wake();
    }

    pub(super) fn resume(&self) {
        if self.suspended.swap(false, Ordering::Relaxed) {
            tracing::info!("the list store is available again; reconciling the lists");
        }
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, SyncNotes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
