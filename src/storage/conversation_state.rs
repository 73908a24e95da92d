//! A guest's conversation while a batch adds to it: read once, written once.

use crate::chat::{
    ConversationId, Digest, GuestId, NewMessage, Role, Timestamp, Ttl, Usage, Window, chain_link,
    chain_start, content_hash, title,
};
use crate::error::{Error, ErrorKind};
use std::collections::HashMap;
use uuid::Uuid;

/// A guest's conversation while the batch adds to it.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct ConversationState {
    pub(super) id: ConversationId,
    pub(super) guest: GuestId,
    pub(super) is_new: bool,
    pub(super) title: String,
    /// `None` when nobody has looked: it matters only when a user's message comes.
    pub(super) has_user_message: Option<bool>,
    pub(super) hash: Digest,
    pub(super) message_count: u64,
    pub(super) total_tokens: u64,
    pub(super) window: Option<Window>,
    /// Set when the window began anew in this batch: earlier messages are no longer in the list.
    pub(super) lapsed: bool,
    pub(super) counted: Usage,
    /// Where its first new message is among the outcomes: group, place in it.
    pub(super) first: Option<(usize, usize)>,
}

/// That the place of a guest's next message is taken: its conversation counts fewer than there are, which only damage or a
/// change by hand can bring about.
pub(super) fn miscounted(backend: &'static str, guest: &GuestId) -> Error {
    let context = format!(
        "the chat of guest {guest} has more messages than its conversation counts, so nothing can be stored in it: run \
         `guestbook verify --repair --guest {guest}` on the server, then send the message again"
    );
    Error::new(ErrorKind::Inconsistent, backend, "record", context)
}

impl ConversationState {
    /// A conversation without a message.
    pub(super) fn begin(guest: &GuestId) -> Self {
        let id = ConversationId(Uuid::now_v7());
        Self {
            id,
            guest: guest.clone(),
            is_new: true,
            title: title(guest.as_str(), None),
            has_user_message: Some(false),
            hash: chain_start(id),
            message_count: 0,
            total_tokens: 0,
            window: None,
            lapsed: false,
            counted: Usage::default(),
            first: None,
        }
    }

    /// As it is once a batch is committed.
    pub(super) fn written(self) -> Self {
        Self {
            is_new: false,
            lapsed: false,
            counted: Usage::default(),
            first: None,
            ..self
        }
    }

    /// Adds a message and returns its sequence.
    pub(super) fn add(&mut self, message: &NewMessage, at: Timestamp, ttl: Ttl) -> u64 {
        let sequence = self.message_count;
        if message.role == Role::User && self.has_user_message != Some(true) {
            self.title = title(self.guest.as_str(), Some(message.content.as_str()));
            self.has_user_message = Some(true);
        }
        let window = Window::advance(self.window, sequence, at, ttl);
        self.lapsed |= window.from == sequence && sequence > 0;
        self.window = Some(window);
        self.hash = chain_link(
            self.hash,
            sequence,
            message.role,
            message.hash,
            message.sent_at,
        );
        self.message_count += 1;
        self.total_tokens += message.tokens;
        self.counted.count(message.role, message.tokens);
        sequence
    }

    /// The head of the hash chain as stored. A damaged one is continued from what stands there: the guest can go on, and
    /// verify still tells.
    pub(super) fn head(stored: &str) -> Digest {
        Digest::from_hex(stored).unwrap_or_else(|| content_hash(stored))
    }
}

/// The conversations of a batch's guests, in the order in which they were read or begun.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    pub(super) states: Vec<ConversationState>,
    /// `None` where it was read that a guest has none.
    by_guest: HashMap<GuestId, Option<usize>>,
}

impl Conversations {
    /// Takes a conversation that was read, and returns its place.
    pub(super) fn insert(&mut self, state: ConversationState) -> usize {
        let place = self.states.len();
        self.by_guest.insert(state.guest.clone(), Some(place));
        self.states.push(state);
        place
    }

    /// The guest's conversation, if there is one; read if it was not yet.
    pub(super) fn get_or_read<E>(
        &mut self,
        guest: &GuestId,
        read: impl FnOnce() -> Result<Option<ConversationState>, E>,
    ) -> Result<Option<&mut ConversationState>, E> {
        let place = match self.by_guest.get(guest) {
            Some(place) => *place,
            None => {
                let place = read()?.map(|state| self.insert(state));
                *self.by_guest.entry(guest.clone()).or_insert(place)
            }
        };
        Ok(place.map(|place| &mut self.states[place]))
    }

    /// The guest's conversation; one that there is not begins now, so that ids ascend as conversations are stored.
    pub(super) fn get_or_begin(&mut self, guest: &GuestId) -> &mut ConversationState {
        let place = match self.by_guest.get(guest) {
            Some(Some(place)) => *place,
            _ => self.insert(ConversationState::begin(guest)),
        };
        &mut self.states[place]
    }

    pub(super) fn get(&self, guest: &GuestId) -> Option<&ConversationState> {
        let place = (*self.by_guest.get(guest)?)?;
        self.states.get(place)
    }
}
