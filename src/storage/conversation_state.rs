//! A guest's conversation while a batch appends to it: read once, written once.

use guestbook_core::error::{Error, ErrorKind};
use guestbook_core::{
    ConversationId, Digest, GuestId, NewMessage, Role, Timestamp, Ttl, Usage, Window, chain_link,
    chain_start, content_hash, title,
};
use std::collections::HashMap;
use uuid::Uuid;

/// The state of a guest's conversation within a batch.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub struct ConversationState {
    /// The conversation.
    pub id: ConversationId,
    /// Its guest.
    pub guest: GuestId,
    /// Whether this batch creates it.
    pub is_new: bool,
    /// Its title.
    pub title: String,
    /// `None` when not read: it matters only for a user's message.
    pub has_user_message: Option<bool>,
    /// The head of the hash chain over its messages.
    pub hash: Digest,
    /// The number of messages, which is the next sequence.
    pub message_count: u64,
    /// Their tokens.
    pub total_tokens: u64,
    /// The window of its messages that the session list has.
    pub window: Option<Window>,
    /// Set when this batch began a new window: earlier messages are no longer in the list.
    pub expired: bool,
    /// What the batch adds to its owner's usage.
    pub counted: Usage,
    /// Its first new message among the outcomes: index of the group, index in the group.
    pub first: Option<(usize, usize)>,
}

/// The error when the next sequence is taken already: the conversation counts fewer messages than it has, which only damage
/// or a manual change can cause.
pub fn miscounted(backend: &'static str, guest: &GuestId) -> Error {
    let context = format!(
        "the chat of guest {guest} has more messages than its conversation counts, so nothing can be stored in it: run \
         `guestbook verify --repair --guest {guest}` on the server, then send the message again"
    );
    Error::new(ErrorKind::Inconsistent, backend, "record", context)
}

impl ConversationState {
    /// A conversation without a message.
    pub fn begin(guest: &GuestId) -> Self {
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
            expired: false,
            counted: Usage::default(),
            first: None,
        }
    }

    /// The state after a batch is committed.
    pub fn written(self) -> Self {
        Self {
            is_new: false,
            expired: false,
            counted: Usage::default(),
            first: None,
            ..self
        }
    }

    /// Appends a message and returns its sequence.
    pub fn add(&mut self, message: &NewMessage, at: Timestamp, ttl: Ttl) -> u64 {
        let sequence = self.message_count;
        if message.role == Role::User && self.has_user_message != Some(true) {
            self.title = title(self.guest.as_str(), Some(message.content.as_str()));
            self.has_user_message = Some(true);
        }
        let window = Window::advance(self.window, sequence, at, ttl);
        self.expired |= window.from == sequence && sequence > 0;
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

    /// The stored head of the hash chain. A damaged head is continued as stored: the guest can go on, and verify still reports
    /// it.
    pub fn head(stored: &str) -> Digest {
        Digest::from_hex(stored).unwrap_or_else(|| content_hash(stored))
    }
}

/// The conversations of a batch's guests, in the order in which they were read or begun.
#[derive(Debug, Default)]
pub struct Conversations {
    /// In insertion order.
    pub states: Vec<ConversationState>,
    /// `None`: the tables have no conversation of this guest.
    by_guest: HashMap<GuestId, Option<usize>>,
}

impl Conversations {
    /// Inserts a conversation that was read, and returns its index.
    pub fn insert(&mut self, state: ConversationState) -> usize {
        let place = self.states.len();
        self.by_guest.insert(state.guest.clone(), Some(place));
        self.states.push(state);
        place
    }

    /// The guest's conversation, if any; reads it once.
    pub fn get_or_read<E>(
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

    /// The guest's conversation, created if missing, so that ids ascend as conversations are stored.
    pub fn get_or_begin(&mut self, guest: &GuestId) -> &mut ConversationState {
        let place = match self.by_guest.get(guest) {
            Some(Some(place)) => *place,
            _ => self.insert(ConversationState::begin(guest)),
        };
        &mut self.states[place]
    }

    /// The guest's conversation, if it is in this batch.
    pub fn get(&self, guest: &GuestId) -> Option<&ConversationState> {
        let place = (*self.by_guest.get(guest)?)?;
        self.states.get(place)
    }
}
