//! Messages stored under client ids: SQLite and PostgreSQL read them before a batch is planned.
//!
//! Ids are scoped to a conversation: messages of other conversations only decide which id a row gets, never whether it is stored.

use super::database::{Batch, Recorded};
use guestbook_core::{
    ClientId, ConversationId, Digest, EmbeddingState, GuestId, ListState, MessageId, Metadata,
    NewMessage, Role, RowState, Timestamp, Window,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A stored message.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// Its id.
    pub id: MessageId,
    /// The id that its client sent, if it differs.
    pub external_id: Option<Arc<str>>,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The list window of its conversation; unused if the batch has that conversation.
    pub window: Option<Window>,
    /// Its sequence in the conversation.
    pub sequence: u64,
    /// `None` if the row is damaged: then no message repeats it.
    pub said: Option<(Role, Digest)>,
    /// When its client sent it.
    pub sent_at: Timestamp,
    /// The client's metadata.
    pub metadata: Option<Metadata>,
    /// Whether its session list has it.
    pub is_synced: bool,
    /// The state of its embedding.
    pub embedding: EmbeddingState,
}

impl StoredMessage {
    /// Role and content hash, from their columns.
    pub fn said(role: &str, hash: &str) -> Option<(Role, Digest)> {
        Role::parse(role).ok().zip(Digest::from_hex(hash))
    }

    /// The embedding's state, from its columns.
    pub fn embedding(noted: Option<&str>, has_vector: bool) -> EmbeddingState {
        match noted.and_then(EmbeddingState::parse) {
            _ if has_vector => EmbeddingState::Stored,
            noted => noted.unwrap_or(EmbeddingState::Off),
        }
    }

    /// Whether `message` repeats this one.
    pub fn is(&self, message: &NewMessage) -> bool {
        let metadata = self.metadata.as_ref();
        let same = |(role, hash)| message.repeats(role, hash, self.sent_at, metadata);
        self.said.is_some_and(same)
    }

    /// The first outcome again.
    pub fn recorded(&self, window: Option<Window>, at: Timestamp) -> Recorded {
        let row = row_state(self.sequence);
        Recorded {
            id: self.id,
            external_id: self.external_id.clone(),
            conversation: self.conversation,
            sequence: self.sequence,
            conversation_row: row,
            usage_row: row,
            embedding: self.embedding,
            window: None,
            replayed: Some(list_state(window, self.sequence, self.is_synced, at)),
        }
    }
}

/// How the message at `sequence` changed its conversation's row.
pub fn row_state(sequence: u64) -> RowState {
    match sequence {
        0 => RowState::Created,
        _ => RowState::Updated,
    }
}

/// The list state of a stored message when its id is sent again.
pub fn list_state(
    window: Option<Window>,
    sequence: u64,
    is_synced: bool,
    at: Timestamp,
) -> ListState {
    let listed = window.is_some_and(|window| window.is_live(at) && window.from <= sequence);
    // Expired precedes stored: a list may be gone before that was marked.
    match (listed, is_synced) {
        (false, _) => ListState::Expired,
        (true, true) => ListState::Stored,
        (true, false) => ListState::Pending,
    }
}

/// The ids that guests may have sent before, and those that show another use of an idempotency key; distinct, by guest and
/// key.
pub fn client_ids(batch: &Batch) -> Vec<(&GuestId, &ClientId)> {
    let ids = batch.entries().flat_map(|entry| {
        let message = &entry.message;
        let ids = message.client_id.iter().chain(&message.rules_out);
        ids.map(|id| (&message.guest, id))
    });
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable_by_key(|(guest, id)| (*guest, id.key()));
    ids.dedup();
    ids
}

/// The messages stored under the ids of a batch.
#[derive(Debug, Default)]
pub struct StoredIds<'a> {
    /// In conversations that the guest began.
    found: HashMap<(&'a GuestId, &'a str), Vec<StoredMessage>>,
    /// Ids in use as message ids, in any conversation.
    pub held: HashSet<MessageId>,
}

impl<'a> StoredIds<'a> {
    /// Adds a message stored under `id`; `is_mine`: in a conversation that the guest began.
    pub fn add(
        &mut self,
        guest: &'a GuestId,
        id: &'a ClientId,
        found: StoredMessage,
        is_mine: bool,
    ) {
        self.held.insert(found.id);
        if is_mine {
            let of_id = self.found.entry((guest, id.key())).or_default();
            of_id.push(found);
        }
    }

    /// Whether a message is stored under `id` in a conversation that the guest began.
    pub fn has(&self, guest: &'a GuestId, id: &'a ClientId) -> bool {
        self.found.contains_key(&(guest, &**id.key()))
    }

    /// The message that `message` repeats or contradicts: any in the guest's conversation `here`; in those that became a user's
    /// only the same message.
    pub fn repeated(
        &self,
        message: &'a NewMessage,
        id: &'a ClientId,
        here: Option<ConversationId>,
    ) -> Option<&StoredMessage> {
        let found = self.found.get(&(&message.guest, &**id.key()))?;
        let is_here = |found: &&StoredMessage| Some(found.conversation) == here;
        let same = || found.iter().find(|found| found.is(message));
        found.iter().find(is_here).or_else(same)
    }
}
