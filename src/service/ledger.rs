//! What has been done to the lists and is not noted in the tables yet, and whether the list store is to be tried at all.

use guestbook_core::{ConversationId, GuestId};
use guestbook_storage::database::Settled;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// What has been done to the lists and is not noted in the tables yet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    notes: Mutex<Notes>,
    /// Tells the mending task that a list lacks something.
    pub(super) wake: Notify,
    /// Set while the list store fails: batches do not wait for it, the mending task tries it.
    suspended: AtomicBool,
    /// Set when every list is to be compared with the tables, though the store is the same.
    compare: AtomicBool,
    /// Held while notes are taken out and written, so that whoever settles next does not pass by those on their way.
    pub(super) settling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Notes {
    /// Applied, but a power cut could take it back.
    applied: Vec<Settled>,
    /// Where a conversation is in `applied`, to keep one note for each.
    places: HashMap<ConversationId, usize>,
    /// Removed, but a power cut could bring it back.
    removed: Vec<GuestId>,
    /// Refused by the list store since: an earlier removal of the same guest must not pay this one's debt.
    refused: HashSet<GuestId>,
    /// Guests whose list cannot be read or may be of another history: until it is removed and rebuilt.
    doubted: HashSet<GuestId>,
    /// Durable in the lists, to be noted with the next batch.
    durable: Vec<Settled>,
}

impl Ledger {
    /// Has the next mending compare every list with the tables.
    pub(super) fn compare(&self) {
        self.compare.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked for since the last time.
    pub(super) fn take_compare(&self) -> bool {
        self.compare.swap(false, Ordering::Relaxed)
    }

    pub(super) fn note_applied(&self, settled: Settled) {
        let mut notes = self.notes();
        let place = notes.places.get(&settled.conversation).copied();
        match place.map(|place| &mut notes.applied[place]) {
            Some(note) if note.next + settled.messages.len() as u64 == settled.next => {
                note.next = settled.next;
                note.messages.extend(settled.messages);
            }
            _ => {
                let place = notes.applied.len();
                notes.places.insert(settled.conversation, place);
                notes.applied.push(settled);
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
    pub(super) fn take_durable(&self, messages: usize) -> Vec<Settled> {
        let mut notes = self.notes();
        let mut taken = 0;
        let fits = notes.durable.iter().take_while(|settled| {
            let room = taken < messages;
            taken += settled.messages.len();
            room
        });
        let count = fits.count();
        notes.durable.drain(..count).collect()
    }

    pub(super) fn put_back_durable(&self, settled: Vec<Settled>) {
        self.notes().durable.extend(settled);
    }

    pub(super) fn take_applied(&self) -> (Vec<Settled>, Vec<GuestId>) {
        let mut notes = self.notes();
        notes.places.clear();
        (
            std::mem::take(&mut notes.applied),
            std::mem::take(&mut notes.removed),
        )
    }

    /// Has a guest's list removed and rebuilt by the mending task, which does not forget it before that is done.
    pub(super) fn doubt(&self, guest: GuestId) {
        self.notes().doubted.insert(guest);
        self.wake();
    }

    pub(super) fn doubted(&self) -> Vec<GuestId> {
        self.notes().doubted.iter().cloned().collect()
    }

    pub(super) fn trust(&self, guest: &GuestId) {
        self.notes().doubted.remove(guest);
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
            tracing::info!("the list store answers again; the lists are being brought up to date");
        }
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
