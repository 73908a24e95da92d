//! What a batch will write, worked out from what was read: no I/O, so the transaction waits for the server twice and no more.

use super::error::{Attempt, Fault};
use crate::chat::{
    ConversationId, EmbeddingState, GuestId, MessageId, NewMessage, RowState, Timestamp, Window,
};
use crate::storage::database::{Embedding, Entry, Group, Outcome, Recorded, TableSettings};
use crate::storage::open_chat::{OpenChat, Parts, listed_as};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// A message that is stored, or will be by this batch.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) conversation: ConversationId,
    /// Who began the conversation.
    pub(super) session: String,
    pub(super) window: Option<Window>,
    pub(super) sequence: u64,
    pub(super) role: String,
    pub(super) hash: String,
    pub(super) is_synced: bool,
    pub(super) embedding: EmbeddingState,
}

/// A message that will be stored, with its place.
#[derive(Debug)]
pub(super) struct Staged<'a> {
    pub(super) entry: &'a Entry,
    pub(super) conversation: ConversationId,
    pub(super) sequence: u64,
}

/// A batch while it is worked out.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    at: Timestamp,
    pub(super) settings: &'a TableSettings,
    /// The chats of the batch's guests, in the order in which their rows are written.
    pub(super) chats: BTreeMap<GuestId, OpenChat>,
    found: HashMap<MessageId, Found>,
    pub(super) staged: Vec<Staged<'a>>,
    groups: usize,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        at: Timestamp,
        settings: &'a TableSettings,
        chats: BTreeMap<GuestId, OpenChat>,
        found: HashMap<MessageId, Found>,
    ) -> Self {
        Self {
            at,
            settings,
            chats,
            found,
            staged: Vec::new(),
            groups: 0,
        }
    }

    /// Works out one group after another.
    pub(super) fn work_out(&mut self, groups: &'a [Group]) -> Attempt<Vec<Outcome>> {
        groups.iter().map(|group| self.group(group)).collect()
    }

    fn group(&mut self, group: &'a Group) -> Attempt<Outcome> {
        let place = self.groups;
        self.groups += 1;
        if let Some((index, id)) = self.conflict(group) {
            return Ok(Outcome::Conflict { index, id });
        }
        let mut recorded = Vec::with_capacity(group.0.len());
        for entry in &group.0 {
            let replay = self.replay(&entry.message);
            recorded.push(match replay {
                Some(replay) => replay,
                None => self.store(entry, (place, recorded.len()))?,
            });
        }
        Ok(Outcome::Stored(recorded))
    }

    /// The first message of the group that repeats an id with another guest, role or content: in the tables or in the
    /// group itself. Or the first that is new where others under the same key are not.
    fn conflict(&self, group: &Group) -> Option<(usize, MessageId)> {
        let mut seen: HashMap<MessageId, &NewMessage> = HashMap::new();
        let mut parts = Parts::default();
        for (index, Entry { message, .. }) in group.0.iter().enumerate() {
            let earlier = seen.insert(message.id, message);
            if !message.may_repeat {
                continue; // an id of our own making; should it be there already, its insertion fails the batch
            }
            let found = self.found.get(&message.id);
            parts.see(index, message, found.is_some());
            let same = match (earlier, found) {
                (Some(other), _) => {
                    (&other.guest, other.role, other.hash)
                        == (&message.guest, message.role, message.hash)
                }
                (None, Some(found)) => is_found(found, message),
                (None, None) => true,
            };
            if !same {
                return Some((index, message.id));
            }
        }
        parts.conflict()
    }

    /// The first answer again, for a message that is stored.
    fn replay(&self, message: &NewMessage) -> Option<Recorded> {
        let found = self.found.get(&message.id).filter(|_| message.may_repeat)?;
        // A chat that this batch has touched is not written yet.
        let touched = self
            .chats
            .values()
            .find(|chat| chat.id == found.conversation);
        let window = touched.map_or(found.window, |chat| chat.window);
        let list = listed_as(window, found.sequence, found.is_synced, self.at);
        let row = if found.sequence == 0 {
            RowState::Created
        } else {
            RowState::Updated
        };
        Some(Recorded {
            id: message.id,
            conversation: found.conversation,
            sequence: found.sequence,
            conversation_row: row,
            usage_row: row,
            embedding: found.embedding,
            window: None,
            replayed: Some(list),
        })
    }

    fn store(&mut self, entry: &'a Entry, place: (usize, usize)) -> Attempt<Recorded> {
        let message = &entry.message;
        if matches!(entry.embedding, Embedding::Vector(_)) && self.settings.model.is_none() {
            // It could never be compared with another.
            return Err(Fault::Value("a vector of no model"));
        }
        let chat = self
            .chats
            .entry(message.guest.clone())
            .or_insert_with(|| OpenChat::begin(&message.guest, ConversationId(Uuid::now_v7())));
        let sequence = chat.take(message, self.at, self.settings.list_ttl);
        chat.first.get_or_insert(place);
        let (conversation, window) = (chat.id, chat.window);
        let embedding = match self.settings.model {
            Some(_) => entry.embedding.state(),
            None => EmbeddingState::Off,
        };
        self.found.insert(
            message.id,
            Found {
                conversation,
                session: message.guest.as_str().to_owned(),
                window,
                sequence,
                role: message.role.as_str().to_owned(),
                hash: message.hash.to_hex(),
                is_synced: false,
                embedding,
            },
        );
        self.staged.push(Staged {
            entry,
            conversation,
            sequence,
        });
        Ok(Recorded {
            id: message.id,
            conversation,
            sequence,
            conversation_row: if sequence == 0 {
                RowState::Created
            } else {
                RowState::Updated
            },
            usage_row: RowState::Updated, // who was created is known when the rows are written
            embedding: entry.embedding.state(),
            window,
            replayed: None,
        })
    }

    /// The chats that got a message.
    pub(super) fn grown(&self) -> impl Iterator<Item = &OpenChat> {
        self.chats.values().filter(|chat| chat.first.is_some())
    }
}

fn is_found(found: &Found, message: &NewMessage) -> bool {
    found.session == message.guest.as_str()
        && found.role == message.role.as_str()
        && found.hash == message.hash.to_hex()
}
