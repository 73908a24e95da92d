//! A guest's conversation while a batch adds to it: read once, written once. What happens between is the same for every
//! store of tables.

use crate::chat::{
    ConversationId, Digest, GuestId, ListState, NewMessage, Role, Timestamp, Ttl, Usage, Window,
    chain_link, chain_start, content_hash, title,
};
use crate::error::{Error, ErrorKind};

/// A guest's conversation while the batch adds to it.
#[derive(Clone, Debug)]
pub(super) struct OpenChat {
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
    /// Where this chat's first stored message is among the outcomes: group, place in it.
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

impl OpenChat {
    /// A conversation without a message.
    pub(super) fn begin(guest: &GuestId, id: ConversationId) -> Self {
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

    /// Adds a message and returns its sequence.
    pub(super) fn take(&mut self, message: &NewMessage, at: Timestamp, ttl: Ttl) -> u64 {
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

/// What a list had of a message that is stored, when its id came again.
pub(super) fn listed_as(
    window: Option<Window>,
    sequence: u64,
    is_synced: bool,
    at: Timestamp,
) -> ListState {
    let listed = window.is_some_and(|window| window.is_live(at) && window.from <= sequence);
    // Expired goes before stored: a list may be gone before that was noted.
    match (listed, is_synced) {
        (false, _) => ListState::Expired,
        (true, true) => ListState::Stored,
        (true, false) => ListState::Pending,
    }
}
