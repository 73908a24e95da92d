//! Messages under ids that clients chose: whether a group is new, was stored before, or says something else under an id that
//! is stored. The same for SQLite and PostgreSQL, which differ in how they look.
//!
//! An id is its conversation's own: what others store in theirs decides only which id a row gets, never whether it is stored.

use super::database::{Group, Recorded};
use super::open_chat::listed_as;
use crate::chat::{
    ClientId, ConversationId, Digest, EmbeddingState, GuestId, ListState, MessageId, Metadata,
    NewMessage, Role, RowState, Timestamp, Window,
};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// A message that is stored, or will be by this batch.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) id: MessageId,
    pub(super) external_id: Option<Arc<str>>,
    pub(super) conversation: ConversationId,
    pub(super) window: Option<Window>,
    pub(super) sequence: u64,
    pub(super) role: String,
    pub(super) hash: String,
    pub(super) sent_at: Timestamp,
    pub(super) metadata: Option<Metadata>,
    pub(super) is_synced: bool,
    pub(super) embedding: EmbeddingState,
}

impl Found {
    /// Whether `message` is this one again.
    pub(super) fn is(&self, message: &NewMessage) -> bool {
        let (role, hash) = (Role::parse(&self.role), Digest::from_hex(&self.hash));
        match (role, hash) {
            (Ok(role), Some(hash)) => {
                message.repeats(role, hash, self.sent_at, self.metadata.as_ref())
            }
            _ => false, // damaged
        }
    }

    /// The first answer again.
    pub(super) fn recorded(self, at: Timestamp) -> Recorded {
        let list = listed_as(self.window, self.sequence, self.is_synced, at);
        Recorded {
            id: self.id,
            external_id: self.external_id,
            conversation: self.conversation,
            sequence: self.sequence,
            conversation_row: row_state(self.sequence),
            usage_row: row_state(self.sequence),
            embedding: self.embedding,
            window: None,
            replayed: Some(list),
        }
    }
}

fn row_state(sequence: u64) -> RowState {
    match sequence {
        0 => RowState::Created,
        _ => RowState::Updated,
    }
}

/// What is known of a message's id.
pub(super) enum Known {
    /// Nothing of it is stored in the guest's conversation, nor the same message in one that the guest began and a user has now.
    New {
        /// Whether a message of another conversation has the id that this one wants for its own.
        is_held: bool,
    },
    /// A message is stored under it.
    Stored(Box<Found>),
}

/// Of messages under one id in conversations that one guest began, the one that `message` repeats or contradicts: in the
/// guest's conversation `here` any, in those that became a user's only the same message.
pub(super) fn repeated(
    mut found: Vec<Found>,
    here: Option<ConversationId>,
    message: &NewMessage,
) -> Option<Found> {
    let is_here = |found: &Found| Some(found.conversation) == here;
    let place = found.iter().position(is_here);
    let place = place.or_else(|| found.iter().position(|found| found.is(message)))?;
    Some(found.swap_remove(place))
}

/// How a store finds ids.
pub(super) trait Lookup {
    type Error;

    /// What is known of `id`, under which `message` was sent.
    fn find(&self, message: &NewMessage, id: &ClientId) -> Result<Known, Self::Error>;

    /// Whether anything is stored under `id` in a conversation that the guest began.
    fn is_stored(&self, guest: &GuestId, id: &ClientId) -> Result<bool, Self::Error>;
}

/// The ids of a message that is about to be stored.
#[derive(Debug)]
pub(super) struct Ids {
    /// Its own.
    pub(super) own: MessageId,
    /// The one under which it was sent, where that is another one.
    pub(super) external: Option<Arc<str>>,
}

impl Ids {
    /// `is_held`: another message has the id that the client wants.
    fn of(message: &NewMessage, id: &ClientId, is_held: bool) -> Self {
        let own = match is_held {
            true => MessageId(Uuid::now_v7()),
            false => message.id,
        };
        Self {
            own,
            external: id.beside(own),
        }
    }
}

/// What becomes of a message.
pub(super) enum Fate {
    /// It is stored.
    Store(Ids),
    /// It was before.
    Replay(Box<Found>),
    /// It is the message at this place of the same group.
    Again(usize),
}

/// The answer to the same message again, in the same group.
pub(super) fn again(first: &Recorded, at: Timestamp) -> Recorded {
    let listed = || listed_as(first.window, first.sequence, false, at);
    let replayed: ListState = first.replayed.unwrap_or_else(listed);
    Recorded {
        conversation_row: row_state(first.sequence),
        usage_row: row_state(first.sequence),
        window: None,
        replayed: Some(replayed),
        ..first.clone()
    }
}

/// What becomes of a group.
pub(super) enum Verdict {
    /// Nothing of it is stored; the place and the id in question.
    Conflict(usize, ClientId),
    /// Its messages, in order.
    Store(Vec<Fate>),
}

/// Decides what becomes of a group.
pub(super) fn judge<L: Lookup>(Group(entries): &Group, lookup: &L) -> Result<Verdict, L::Error> {
    let mut fates = Vec::with_capacity(entries.len());
    let mut seen: HashMap<(&GuestId, Cow<'_, str>), usize> = HashMap::new();
    let mut taken: HashSet<MessageId> = HashSet::new();
    let mut parts = Parts::default();
    let has_ids = entries
        .iter()
        .any(|entry| entry.message.client_id.is_some());
    for (index, entry) in entries.iter().enumerate() {
        let message = &entry.message;
        let Some(id) = &message.client_id else {
            // An id of our own making; should it be there already, its insertion fails the batch.
            let (own, external) = (message.id, None);
            if has_ids {
                taken.insert(own);
                seen.insert((&message.guest, own.to_string().into()), index);
            }
            fates.push(Fate::Store(Ids { own, external }));
            continue;
        };
        if let Some(&first) = seen.get(&(&message.guest, key(id))) {
            let earlier = &entries[first].message;
            let (sent_at, metadata) = (earlier.sent_at, earlier.metadata.as_ref());
            if !message.repeats(earlier.role, earlier.hash, sent_at, metadata) {
                return Ok(Verdict::Conflict(index, id.clone()));
            }
            fates.push(Fate::Again(first));
            continue;
        }
        seen.insert((&message.guest, key(id)), index);
        let known = lookup.find(message, id)?;
        parts.see(index, message, matches!(known, Known::Stored(_)));
        fates.push(match known {
            Known::Stored(found) if found.is(message) => Fate::Replay(found),
            Known::Stored(_) => return Ok(Verdict::Conflict(index, id.clone())),
            Known::New { is_held } => {
                let is_held = is_held || !taken.insert(message.id);
                Fate::Store(Ids::of(message, id, is_held))
            }
        });
    }
    if let Some((index, id)) = parts.conflict() {
        return Ok(Verdict::Conflict(index, id));
    }
    for message in entries.iter().map(|entry| &entry.message) {
        for id in &message.rules_out {
            if lookup.is_stored(&message.guest, id)? {
                return Ok(Verdict::Conflict(entries.len(), id.clone()));
            }
        }
    }
    Ok(Verdict::Store(fates))
}

fn key(id: &ClientId) -> Cow<'_, str> {
    Cow::Borrowed(id.key())
}

/// The parts of one request under one idempotency key, looked at one by one.
#[derive(Debug, Default)]
pub(super) struct Parts {
    is_stored: bool,
    new: Option<(usize, ClientId)>,
}

impl Parts {
    /// Takes note of the message at `index`, and of whether it is stored.
    pub(super) fn see(&mut self, index: usize, message: &NewMessage, is_stored: bool) {
        let Some(id) = message.client_id.as_ref().filter(|_| message.is_part) else {
            return;
        };
        self.is_stored |= is_stored;
        if !is_stored && self.new.is_none() {
            self.new = Some((index, id.clone()));
        }
    }

    /// The first part that is new although another is stored: the key was used for other messages.
    pub(super) fn conflict(self) -> Option<(usize, ClientId)> {
        self.new.filter(|_| self.is_stored)
    }
}
