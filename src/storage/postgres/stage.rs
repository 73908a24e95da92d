//! What a batch will write, worked out from what was read: no I/O, so the transaction waits for the server twice and no more.

use super::error::{Attempt, Fault};
use super::ids::FoundIds;
use crate::chat::{
    ClientId, ConversationId, EmbeddingState, GuestId, NewMessage, RowState, Timestamp,
};
use crate::storage::database::{Embedding, Entry, Group, Outcome, Recorded, TableSettings};
use crate::storage::open_chat::OpenChat;
use crate::storage::repeats::{Fate, Found, Ids, Known, Lookup, Verdict, again, judge, repeated};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use uuid::Uuid;

/// A message that will be stored, with its place.
#[derive(Debug)]
pub(super) struct Staged<'a> {
    pub(super) entry: &'a Entry,
    pub(super) ids: Ids,
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
    sent: FoundIds,
    /// Whether any message of the batch has an id of a client's: else nobody asks for those that are stored.
    has_ids: bool,
    pub(super) staged: Vec<Staged<'a>>,
    groups: usize,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        at: Timestamp,
        settings: &'a TableSettings,
        chats: BTreeMap<GuestId, OpenChat>,
        sent: FoundIds,
    ) -> Self {
        Self {
            at,
            settings,
            chats,
            sent,
            has_ids: false,
            staged: Vec::new(),
            groups: 0,
        }
    }

    /// Works out one group after another.
    pub(super) fn work_out(&mut self, groups: &'a [Group]) -> Attempt<Vec<Outcome>> {
        let mut entries = groups.iter().flat_map(|group| &group.0);
        self.has_ids = entries.any(|entry| entry.message.client_id.is_some());
        groups.iter().map(|group| self.group(group)).collect()
    }

    fn group(&mut self, group: &'a Group) -> Attempt<Outcome> {
        let place = self.groups;
        self.groups += 1;
        let Ok(verdict) = judge(group, self);
        let fates = match verdict {
            Verdict::Conflict(index, id) => return Ok(Outcome::Conflict { index, id }),
            Verdict::Store(fates) => fates,
        };
        let mut recorded: Vec<Recorded> = Vec::with_capacity(group.0.len());
        for (entry, fate) in group.0.iter().zip(fates) {
            recorded.push(match fate {
                Fate::Store(ids) => self.store(entry, ids, (place, recorded.len()))?,
                Fate::Replay(found) => found.recorded(self.at),
                Fate::Again(place) => again(&recorded[place], self.at),
            });
        }
        Ok(Outcome::Stored(recorded))
    }

    fn store(&mut self, entry: &'a Entry, ids: Ids, place: (usize, usize)) -> Attempt<Recorded> {
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
        let recorded = Recorded {
            id: ids.own,
            external_id: ids.external.clone(),
            conversation: chat.id,
            sequence,
            conversation_row: if sequence == 0 {
                RowState::Created
            } else {
                RowState::Updated
            },
            usage_row: RowState::Updated, // who was created is known when the rows are written
            embedding: entry.embedding.state(),
            window: chat.window,
            replayed: None,
        };
        if self.has_ids {
            self.note(message, &recorded);
        }
        self.staged.push(Staged {
            entry,
            ids,
            conversation: recorded.conversation,
            sequence,
        });
        Ok(recorded)
    }

    /// Lets later messages of the batch find this one.
    fn note(&mut self, message: &NewMessage, recorded: &Recorded) {
        let key = match &message.client_id {
            Some(id) => Arc::clone(id.key()),
            None => recorded.id.to_string().into(),
        };
        let embedding = match self.settings.model {
            Some(_) => recorded.embedding,
            None => EmbeddingState::Off,
        };
        let found = Found {
            id: recorded.id,
            external_id: recorded.external_id.clone(),
            conversation: recorded.conversation,
            window: recorded.window,
            sequence: recorded.sequence,
            role: message.role.as_str().to_owned(),
            hash: message.hash.to_hex(),
            sent_at: message.sent_at,
            metadata: message.metadata.clone(),
            is_synced: false,
            embedding,
        };
        self.sent.add(&message.guest, &key, found, true);
    }

    /// The chats that got a message.
    pub(super) fn grown(&self) -> impl Iterator<Item = &OpenChat> {
        self.chats.values().filter(|chat| chat.first.is_some())
    }
}

impl Lookup for Stage<'_> {
    type Error = Infallible;

    fn find(&self, message: &NewMessage, id: &ClientId) -> Result<Known, Infallible> {
        let found = self.sent.of(&message.guest, id);
        let here = self.chats.get(&message.guest).map(|chat| chat.id);
        let Some(found) = repeated(found.to_vec(), here, message) else {
            let is_held = self.sent.is_held(message.id);
            return Ok(Known::New { is_held });
        };
        // A chat that this batch has touched is not written yet.
        let mut chats = self.chats.values();
        let touched = chats.find(|chat| chat.id == found.conversation);
        let window = touched.map_or(found.window, |chat| chat.window);
        Ok(Known::Stored(Box::new(Found { window, ..found })))
    }

    fn is_stored(&self, guest: &GuestId, id: &ClientId) -> Result<bool, Infallible> {
        Ok(!self.sent.of(guest, id).is_empty())
    }
}
