//! Steps 2-7 of a batch. The whole batch is judged before anything is stored: an error changes nothing.

use super::judge::{Identity, Judge, Verdict};
use super::tables::{ChatRow, EmbeddingNote, MemoryTables, MessageRow, StoredVector};
use crate::database::{
    Batch, Embedding, Entry, FoundMapping, Group, Outcome, Recorded, TableSettings,
};
use guestbook_core::error::Result;
use guestbook_core::{
    ClientId, ConversationId, GuestId, ListState, Message, MessageId, NewMessage, OwnerId,
    RowState, Timestamp,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

impl MemoryTables {
    /// Stores a batch.
    pub(super) fn record(&mut self, batch: &Batch) -> Result<Vec<Outcome>> {
        // Conversations that retention has ended are neither continued nor repeated.
        let ended = self.ended_guests(batch);
        let verdicts = Judge::new(self, &ended).judge(batch)?;
        for conversation in &ended {
            if let Some(chat) = self.conversations.get(conversation) {
                let guest = chat.guest.clone();
                self.erase(&guest, batch.at);
            }
        }
        // The marks are of earlier batches, so they are written first.
        self.note_synced_ranges(&batch.synced_ranges);

        let before = self.messages.len();
        let groups = batch.groups.iter().zip(verdicts);
        let outcomes = groups
            .map(|(group, verdict)| match verdict {
                Verdict::Store => Outcome::Stored(self.store_group(group, batch.at)),
                Verdict::Conflict { index, id } => Outcome::Conflict { index, id },
            })
            .collect();
        let stored = self.messages.len() - before;
        if stored > 0 || !batch.deltas.is_empty() {
            let entries = self.messages.len() as u64;
            self.hours
                .advance(batch.at, stored as u64, &batch.deltas, entries);
        }
        Ok(outcomes)
    }

    /// The conversations of the batch's guests that retention has ended.
    fn ended_guests(&self, batch: &Batch) -> BTreeSet<ConversationId> {
        let chats = batch
            .entries()
            .filter_map(|entry| self.chat_of(&entry.message.guest));
        let ended = chats.filter(|chat| chat.is_ended(batch.at));
        ended.map(|chat| chat.conversation.id).collect()
    }

    fn store_group(&mut self, Group(entries): &Group, at: Timestamp) -> Vec<Recorded> {
        let one = |entry: &Entry| {
            let nothing = BTreeSet::new();
            let before = self.sent_before(&entry.message, &nothing);
            match before.map(|row| row.message.id) {
                Some(id) => self.replay(id, at),
                None => Some(self.store(entry, at)),
            }
        };
        entries.iter().filter_map(one).collect()
    }

    /// The stored message under a message's client id: any in the guest's conversation, and only the same message in those that
    /// the guest began and a user has now. `ended` conversations are excluded.
    pub(super) fn sent_before(
        &self,
        message: &NewMessage,
        ended: &BTreeSet<ConversationId>,
    ) -> Option<&MessageRow> {
        let id = message.client_id.as_ref()?;
        let here = self.guests.get(&message.guest);
        let under = self.under(&message.guest, id, ended);
        let is_here = |row: &&&MessageRow| Some(&row.conversation) == here;
        let found = under.iter().find(is_here);
        let same = || under.iter().find(|row| Identity::of_row(row).is(message));
        found.or_else(same).copied()
    }

    /// The messages under an id in conversations that the guest began.
    pub(super) fn under(
        &self,
        guest: &GuestId,
        id: &ClientId,
        ended: &BTreeSet<ConversationId>,
    ) -> Vec<&MessageRow> {
        let begun = self
            .conversations
            .values()
            .filter(|chat| chat.guest == *guest);
        let begun = begun.map(|chat| chat.conversation.id);
        let mut found = Vec::new();
        for conversation in begun.filter(|id| !ended.contains(id)) {
            let own = id.wanted().and_then(|own| self.messages.get(&own));
            found.extend(own.filter(|row| row.conversation == conversation));
            let external = self.externals.get(&(conversation, Arc::clone(id.key())));
            found.extend(external.and_then(|id| self.messages.get(id)));
        }
        found
    }

    /// The first outcome again, for a stored message.
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
            external_id: row.message.external_id.clone(),
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
        let own = match self.messages.contains_key(&message.id) {
            true => MessageId(Uuid::now_v7()),
            false => message.id,
        };
        let chat = self.conversations.entry(id);
        let chat = chat.or_insert_with(|| ChatRow::begin(id, &message.guest, at));
        let conversation_row = match chat.sequences.is_empty() {
            true => RowState::Created,
            false => RowState::Updated,
        };
        let (sequence, fallen_out) = chat.advance(message, own, at, &self.settings);
        let window = chat.window;
        self.unsync(&fallen_out);
        let usage_row = self.count_usage(owner.clone(), message.role, message.tokens, at);
        let row = row(id, own, sequence, entry, owner, at, &self.settings);
        let external_id = row.message.external_id.clone();
        if let Some(external) = &external_id {
            self.externals.insert((id, Arc::clone(external)), own);
        }
        self.messages.insert(own, row);
        Recorded {
            id: own,
            external_id,
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

/// The list state of a message at `at`. Expired precedes stored: a list may be gone before that was marked.
fn list_state(chat: &ChatRow, row: &MessageRow, at: Timestamp) -> ListState {
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
    own: MessageId,
    sequence: u64,
    entry: &Entry,
    owner: OwnerId,
    at: Timestamp,
    settings: &TableSettings,
) -> MessageRow {
    let new = &entry.message;
    let (vector, note) = embedding(&entry.embedding, settings);
    MessageRow {
        conversation,
        message: Message {
            id: own,
            external_id: new.client_id.as_ref().and_then(|id| id.beside(own)),
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

/// The row of `cache_embeddings`, or the reason why there is none. A failure counts as one attempt.
fn embedding(
    found: &Embedding,
    settings: &TableSettings,
) -> (Option<StoredVector>, Option<EmbeddingNote>) {
    let note = |attempts, cause: &str| {
        Some(EmbeddingNote {
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
