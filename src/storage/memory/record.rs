//! Steps 2-7 of a batch. First the whole batch is judged, then what passed is stored: an error leaves nothing behind.

use super::NAME;
use super::tables::{Chat, Note, Row, StoredVector, Tables};
use crate::chat::{
    ConversationId, Digest, EmbeddingState, ListState, Message, MessageId, NewMessage, OwnerId,
    Role, RowState, Timestamp,
};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::database::{
    Batch, Embedding, Entry, FoundMapping, Group, Outcome, Recorded, TableSettings,
};
use crate::storage::open_chat::Parts;
use std::collections::{BTreeSet, HashMap, HashSet};
use uuid::Uuid;

impl Tables {
    /// Stores a batch.
    pub(super) fn record(&mut self, batch: &Batch) -> Result<Vec<Outcome>> {
        // What retention has ended is not there any more, neither to be continued nor to be repeated.
        let ended = self.ended_guests(batch);
        let verdicts = Judge::new(self, &ended).judge(batch)?;
        for conversation in &ended {
            if let Some(chat) = self.conversations.get(conversation) {
                let guest = chat.guest.clone();
                self.erase(&guest, batch.at);
            }
        }
        // They speak of earlier batches, so they come before this one.
        self.note_settled(&batch.settled);

        let before = self.messages.len();
        let groups = batch.groups.iter().zip(verdicts);
        let outcomes = groups
            .map(|(group, verdict)| match verdict {
                Verdict::Store => Outcome::Stored(self.store_group(group, batch.at)),
                Verdict::Conflict { index, id } => Outcome::Conflict { index, id },
            })
            .collect();
        let stored = self.messages.len() - before;
        if stored > 0 || !batch.tally.is_empty() {
            let entries = self.messages.len() as u64;
            self.hours
                .advance(batch.at, stored as u64, &batch.tally, entries);
        }
        Ok(outcomes)
    }

    /// The conversations of the batch's guests that retention has ended.
    fn ended_guests(&self, batch: &Batch) -> BTreeSet<ConversationId> {
        let entries = batch.groups.iter().flat_map(|Group(entries)| entries);
        let chats = entries.filter_map(|entry| self.chat_of(&entry.message.guest));
        let ended = chats.filter(|chat| chat.is_ended(batch.at));
        ended.map(|chat| chat.conversation.id).collect()
    }

    fn store_group(&mut self, Group(entries): &Group, at: Timestamp) -> Vec<Recorded> {
        let one = |entry: &Entry| match self.replay(entry.message.id, at) {
            Some(replayed) => replayed,
            None => self.store(entry, at),
        };
        entries.iter().map(one).collect()
    }

    /// The first answer again, for a message that is stored.
    fn replay(&self, id: MessageId, at: Timestamp) -> Option<Recorded> {
        let row = self.messages.get(&id)?;
        let chat = self.conversations.get(&row.conversation)?;
        let sequence = row.message.sequence;
        let began = match sequence {
            0 => RowState::Created,
            _ => RowState::Updated,
        };
        Some(Recorded {
            id,
            conversation: row.conversation,
            sequence,
            conversation_row: began,
            usage_row: began,
            embedding: row.embedding(),
            window: None,
            replayed: Some(list_state(chat, row, at)),
        })
    }

    fn store(&mut self, entry: &Entry, at: Timestamp) -> Recorded {
        let message = &entry.message;
        let owner = OwnerId::from(&message.guest);
        let new_id = || ConversationId(Uuid::now_v7());
        let known = self.guests.entry(message.guest.clone());
        let id = *known.or_insert_with(new_id);
        let chat = self.conversations.entry(id);
        let chat = chat.or_insert_with(|| Chat::begin(id, &message.guest, at));
        let conversation_row = match chat.sequences.is_empty() {
            true => RowState::Created,
            false => RowState::Updated,
        };
        let (sequence, fallen_out) = chat.advance(message, at, &self.settings);
        let window = chat.window;
        self.unsync(&fallen_out);
        let usage_row = self.count_usage(owner.clone(), message.role, message.tokens, at);
        let row = row(id, sequence, entry, owner, at, &self.settings);
        self.messages.insert(message.id, row);
        Recorded {
            id: message.id,
            conversation: id,
            sequence,
            conversation_row,
            usage_row,
            embedding: entry.embedding.state(),
            window,
            replayed: None,
        }
    }
}

/// What a message's list has at `at`. Expired goes before stored: a list may be gone before that was noted.
fn list_state(chat: &Chat, row: &Row, at: Timestamp) -> ListState {
    let window = chat.live_window(at);
    if window.is_none_or(|window| row.message.sequence < window.from) {
        ListState::Expired
    } else if row.mapping.as_ref().is_some_and(|m| m.is_synced) {
        ListState::Stored
    } else {
        ListState::Pending
    }
}

fn row(
    conversation: ConversationId,
    sequence: u64,
    entry: &Entry,
    owner: OwnerId,
    at: Timestamp,
    settings: &TableSettings,
) -> Row {
    let new = &entry.message;
    let (vector, note) = embedding(&entry.embedding, settings);
    Row {
        conversation,
        message: Message {
            id: new.id,
            sequence,
            role: new.role,
            content: new.content.clone(),
            sent_at: new.sent_at,
            created_at: at,
            metadata: new.metadata.clone(),
        },
        hash: new.hash,
        tokens: new.tokens,
        vector,
        note,
        mapping: Some(FoundMapping {
            owner,
            is_synced: false,
        }),
    }
}

/// The row of `cache_embeddings`, or the note on why there is none. A failure counts as one try.
fn embedding(found: &Embedding, settings: &TableSettings) -> (Option<StoredVector>, Option<Note>) {
    let note = |attempts, cause: &str| {
        Some(Note {
            model: settings.model.clone()?,
            state: found.state(),
            attempts,
            cause: cause.to_owned(),
        })
    };
    match found {
        Embedding::Vector(vector) => {
            let stored = |model| StoredVector {
                model,
                vector: vector.clone(),
            };
            (settings.model.clone().map(stored), None)
        }
        Embedding::Pending => (None, note(0, "")),
        Embedding::Failed(cause) => (None, note(1, cause)),
        Embedding::Nothing => (None, note(1, "")),
        Embedding::Off => (None, None),
    }
}

/// What is to become of a group.
enum Verdict {
    Store,
    Conflict { index: usize, id: MessageId },
}

/// What makes a repeated id the same message.
#[derive(Clone, Copy, PartialEq)]
struct Identity<'a> {
    guest: &'a str,
    role: Role,
    hash: Digest,
}

impl<'a> Identity<'a> {
    fn of(message: &'a NewMessage) -> Self {
        Self {
            guest: message.guest.as_str(),
            role: message.role,
            hash: message.hash,
        }
    }
}

/// Decides, group by group, what would become of a batch, without changing anything.
struct Judge<'a> {
    tables: &'a Tables,
    ended: &'a BTreeSet<ConversationId>,
    /// The messages that the groups judged so far will store.
    accepted: HashMap<MessageId, Identity<'a>>,
}

impl<'a> Judge<'a> {
    fn new(tables: &'a Tables, ended: &'a BTreeSet<ConversationId>) -> Self {
        Self {
            tables,
            ended,
            accepted: HashMap::new(),
        }
    }

    fn judge(mut self, batch: &'a Batch) -> Result<Vec<Verdict>> {
        let groups = batch.groups.iter();
        groups.map(|Group(entries)| self.group(entries)).collect()
    }

    fn group(&mut self, entries: &'a [Entry]) -> Result<Verdict> {
        let mut added = HashSet::new();
        let mut parts = Parts::default();
        for (index, entry) in entries.iter().enumerate() {
            let (id, identity) = (entry.message.id, Identity::of(&entry.message));
            self.check_model(entry)?;
            let known = self.known(id);
            parts.see(index, &entry.message, known.is_some());
            match known {
                None => {
                    self.accepted.insert(id, identity);
                    added.insert(id);
                }
                Some(_) if !entry.message.may_repeat => {
                    return Err(invalid(format!("message {id} is stored already")));
                }
                Some(known) if known == identity => {}
                Some(_) => return Ok(self.conflict(&added, index, id)),
            }
        }
        Ok(match parts.conflict() {
            Some((index, id)) => self.conflict(&added, index, id),
            None => Verdict::Store,
        })
    }

    /// None of the group will be stored, so nothing may be taken for a repetition of it.
    fn conflict(&mut self, added: &HashSet<MessageId>, index: usize, id: MessageId) -> Verdict {
        self.accepted.retain(|id, _| !added.contains(id));
        Verdict::Conflict { index, id }
    }

    fn known(&self, id: MessageId) -> Option<Identity<'a>> {
        let tables: &'a Tables = self.tables;
        let stored = || {
            let row = tables.messages.get(&id)?;
            let chat = tables.conversations.get(&row.conversation)?;
            let identity = Identity {
                guest: &chat.conversation.session,
                role: row.message.role,
                hash: row.hash,
            };
            (!self.ended.contains(&row.conversation)).then_some(identity)
        };
        self.accepted.get(&id).copied().or_else(stored)
    }

    /// A vector without a model could never be compared with another.
    fn check_model(&self, entry: &Entry) -> Result<()> {
        let nameless = self.tables.settings.model.is_none();
        if nameless && entry.embedding.state() == EmbeddingState::Stored {
            let id = entry.message.id;
            return Err(invalid(format!("message {id} has a vector of no model")));
        }
        Ok(())
    }
}

fn invalid(context: String) -> Error {
    Error::new(ErrorKind::Invalid, NAME, "record", context)
}
