//! Optimistic cache of conversations as this node last wrote them. A batch of cached guests skips the read and takes one round
//! trip; the server rejects it if another node has written meanwhile.

use super::rows::{int, moment};
use super::session::{Statement, statement};
use super::sql;
use chrono::{DateTime, Utc};
use guestbook_core::{GuestId, Timestamp};
use guestbook_storage::conversation_state::{ConversationState, Conversations};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Capacity in conversations, about 5 MiB; when it is full, the cache is cleared.
const KEPT: usize = 16_384;

/// The conversations that this node was the last to write, as far as it knows.
#[derive(Debug, Default)]
pub(super) struct OptimisticCache(Mutex<HashMap<GuestId, ConversationState>>);

impl OptimisticCache {
    /// Removes and returns the conversations of these guests, if all are cached.
    pub(super) fn take(&self, guests: &[GuestId]) -> Option<Conversations> {
        let mut known = self.known();
        let mut chats = Conversations::default();
        for chat in guests.iter().filter_map(|guest| known.remove(guest)) {
            chats.insert(chat);
        }
        (chats.states.len() == guests.len()).then_some(chats)
    }

    /// Clears the cache.
    pub(super) fn forget(&self) {
        self.known().clear();
    }

    /// Caches committed conversations.
    pub(super) fn keep(&self, chats: Conversations) {
        let mut known = self.known();
        if known.len() + chats.states.len() > KEPT {
            known.clear();
        }
        let written = chats
            .states
            .into_iter()
            .filter(|chat| chat.message_count > 0);
        known.extend(written.map(|chat| (chat.guest.clone(), chat.written())));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<GuestId, ConversationState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The expected state of conversations as columns, and the expected settings version.
#[derive(Debug)]
pub(super) struct ExpectedColumns {
    pub(super) ids: Vec<String>,
    hashes: Vec<String>,
    messages: Vec<i64>,
    tokens: Vec<i64>,
    list_from: Vec<i64>,
    at: DateTime<Utc>,
    settings: String,
}

impl ExpectedColumns {
    pub(super) fn of(chats: &Conversations, at: Timestamp, settings: u64) -> Self {
        let each = || chats.states.iter();
        Self {
            ids: each().map(|chat| chat.id.to_string()).collect(),
            hashes: each().map(|chat| chat.hash.to_hex()).collect(),
            messages: each().map(|chat| int(chat.message_count)).collect(),
            tokens: each().map(|chat| int(chat.total_tokens)).collect(),
            list_from: each()
                .map(|chat| int(chat.window.map_or(0, |window| window.from)))
                .collect(),
            at: moment(at),
            settings: settings.to_string(),
        }
    }

    pub(super) fn statement(&self) -> Statement<'_> {
        statement!(sql::EXPECT; self.ids => TEXT_ARRAY, self.hashes => TEXT_ARRAY, self.messages => INT8_ARRAY,
            self.tokens => INT8_ARRAY, self.list_from => INT8_ARRAY, self.at => TIMESTAMPTZ,
            self.settings => TEXT)
    }
}
