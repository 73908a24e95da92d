//! Plans a batch from the rows read: which groups conflict, which messages are replays, where each new one goes. No I/O:
//! SQLite and PostgreSQL read, plan and write.
//! **Invariant:** the memory backend does not use this. It is the independent oracle that the contract and model tests compare with.

use super::conversation_state::{ConversationState, Conversations};
use super::database::{Batch, Embedding, Entry, Group, Outcome, Recorded, TableSettings};
use super::stored_ids::{StoredIds, list_state, row_state};
use guestbook_core::{ClientId, EmbeddingState, GuestId, MessageId, NewMessage, RowState};
use std::collections::HashMap;
use uuid::Uuid;

/// The plan of a batch.
#[derive(Debug)]
pub struct BatchPlan<'a> {
    batch: &'a Batch,
    /// The conversations of the batch's guests, as they will be.
    pub conversations: Conversations,
    /// One per group. Usage rows are known only after the write: see [`Self::note_usage`].
    pub outcomes: Vec<Outcome>,
    /// The number of new messages.
    pub new_count: usize,
}

/// Plans a batch. The error says what is wrong with the batch.
pub fn plan<'a>(
    batch: &'a Batch,
    settings: &TableSettings,
    conversations: Conversations,
    stored: StoredIds<'a>,
) -> Result<BatchPlan<'a>, &'static str> {
    let plan = BatchPlan {
        batch,
        conversations,
        outcomes: Vec::with_capacity(batch.groups.len()),
        new_count: 0,
    };
    let mut planner = Planner {
        settings,
        stored,
        has_ids: batch
            .entries()
            .any(|entry| entry.message.client_id.is_some()),
        added: HashMap::new(),
        actions: Vec::new(),
        plan,
    };
    let mut groups = batch.groups.iter();
    groups.try_for_each(|group| planner.group(group))?;
    Ok(planner.plan)
}

impl<'a> BatchPlan<'a> {
    /// The new messages in order, and where each goes.
    pub fn new_messages(&self) -> impl Iterator<Item = (&'a Entry, &Recorded)> {
        let groups = self.batch.groups.iter().zip(&self.outcomes);
        let messages = groups.flat_map(|(Group(entries), outcome)| match outcome {
            Outcome::Stored(recorded) => entries.iter().zip(recorded),
            Outcome::Conflict { .. } => [].iter().zip(&[]),
        });
        messages.filter(|(_, recorded)| recorded.replayed.is_none())
    }

    /// The conversations that get a message.
    pub fn changed(&self) -> impl Iterator<Item = &ConversationState> {
        let chats = self.conversations.states.iter();
        chats.filter(|chat| chat.first.is_some())
    }

    /// Completes the outcomes with the usage rows created: an owner whose requests are all of this batch got a new row.
    pub fn note_usage<E>(
        &mut self,
        mut total_requests: impl FnMut(&ConversationState) -> Result<Option<u64>, E>,
    ) -> Result<(), E> {
        for chat in &self.conversations.states {
            let Some((group, place)) = chat.first else {
                continue;
            };
            let is_created = total_requests(chat)? == Some(chat.counted.total_requests);
            if let (true, Outcome::Stored(recorded)) = (is_created, &mut self.outcomes[group]) {
                recorded[place].usage_row = RowState::Created;
            }
        }
        Ok(())
    }
}

/// What to do with a message.
enum Action {
    Store,
    /// It was stored before its group.
    Replay(Recorded),
    /// It repeats the message at this index of the same group.
    Again(usize),
}

/// A guest's message id: a UUID, in any spelling, or another text.
type Key<'a> = (&'a GuestId, Result<MessageId, &'a str>);

fn key<'a>(guest: &'a GuestId, id: &'a ClientId) -> Key<'a> {
    (guest, id.wanted().ok_or(id.key()))
}

fn key_of(message: &NewMessage) -> Key<'_> {
    let (guest, own) = (&message.guest, Ok(message.id));
    let sent = message.client_id.as_ref();
    sent.map_or((guest, own), |id| key(guest, id))
}

struct Planner<'a, 's> {
    settings: &'s TableSettings,
    stored: StoredIds<'a>,
    /// Whether any message has a client's id: else `added` is never read.
    has_ids: bool,
    /// The messages that this batch adds: index of the group, index in the group.
    added: HashMap<Key<'a>, (usize, usize)>,
    /// The actions of the current group; reused, so that a group of one message allocates nothing.
    actions: Vec<Action>,
    plan: BatchPlan<'a>,
}

impl<'a> Planner<'a, '_> {
    fn group(&mut self, Group(entries): &'a Group) -> Result<(), &'static str> {
        let mut actions = std::mem::take(&mut self.actions);
        if let Some((index, id)) = self.conflict(entries, &mut actions) {
            let id = id.clone();
            self.plan.outcomes.push(Outcome::Conflict { index, id });
            return Ok(());
        }
        let mut recorded: Vec<Recorded> = Vec::with_capacity(entries.len());
        for (entry, action) in entries.iter().zip(actions.drain(..)) {
            recorded.push(match action {
                Action::Store => self.store(entry, recorded.len())?,
                Action::Replay(before) => before,
                Action::Again(first) => self.again(&recorded[first]),
            });
        }
        self.actions = actions;
        self.plan.outcomes.push(Outcome::Stored(recorded));
        Ok(())
    }

    /// Plans the actions of a group's messages; returns the index and the id of a conflict.
    fn conflict(
        &self,
        entries: &'a [Entry],
        actions: &mut Vec<Action>,
    ) -> Option<(usize, &'a ClientId)> {
        let is_alone = !self.has_ids || entries.len() == 1;
        let mut seen: HashMap<Key<'_>, usize> = HashMap::new();
        let (mut is_part_stored, mut new_part) = (false, None);
        for (index, entry) in entries.iter().enumerate() {
            let message = &entry.message;
            let first = match is_alone {
                true => index,
                false => *seen.entry(key_of(message)).or_insert(index),
            };
            let Some(id) = &message.client_id else {
                // A generated id; should it exist already, its insertion fails the batch.
                actions.push(Action::Store);
                continue;
            };
            // Within a group an id has one content, also if that was stored in a chat that is a user's now.
            let action = match first < index {
                true => is_same(message, &entries[first].message).then_some(Action::Again(first)),
                false => self.action(message, id),
            };
            let Some(action) = action else {
                return Some((index, id));
            };
            match action {
                Action::Store if message.is_part => new_part = new_part.or(Some((index, id))),
                Action::Replay(_) if message.is_part => is_part_stored = true,
                _ => {}
            }
            actions.push(action);
        }
        // A new part while another is stored: the key was used for other messages.
        let new_part = new_part.filter(|_| is_part_stored);
        new_part.or_else(|| Some((entries.len(), self.ruled_out(entries)?)))
    }

    /// The action for a message with a client's id; `None` if it contradicts the stored message.
    fn action(&self, message: &'a NewMessage, id: &'a ClientId) -> Option<Action> {
        if let Some(&(group, place)) = self.added.get(&key_of(message))
            && let Outcome::Stored(recorded) = &self.plan.outcomes[group]
        {
            let Group(entries) = &self.plan.batch.groups[group];
            let replay = || Action::Replay(self.again(&recorded[place]));
            return is_same(message, &entries[place].message).then(replay);
        }
        let here = self.plan.conversations.get(&message.guest);
        let Some(stored) = self.stored.repeated(message, id, here.map(|chat| chat.id)) else {
            return Some(Action::Store);
        };
        // A conversation created in this batch is not written yet.
        let here = here.filter(|chat| chat.id == stored.conversation);
        let window = here.map_or(stored.window, |chat| chat.window);
        let replay = || Action::Replay(stored.recorded(window, self.plan.batch.at));
        stored.is(message).then(replay)
    }

    /// The first id that was used under the same key by another request.
    fn ruled_out(&self, entries: &'a [Entry]) -> Option<&'a ClientId> {
        let messages = entries.iter().map(|entry| &entry.message);
        let mut ids = messages.flat_map(|one| one.rules_out.iter().map(|id| (&one.guest, id)));
        let is_stored = |(guest, id): &(&'a GuestId, &'a ClientId)| {
            self.added.contains_key(&key(guest, id)) || self.stored.has(guest, id)
        };
        ids.find(is_stored).map(|(_, id)| id)
    }

    /// The outcome of a repetition of a message that this batch adds.
    fn again(&self, first: &Recorded) -> Recorded {
        if first.replayed.is_some() {
            return first.clone();
        }
        let (sequence, at) = (first.sequence, self.plan.batch.at);
        Recorded {
            usage_row: row_state(sequence),
            embedding: match self.settings.model {
                Some(_) => first.embedding,
                None => EmbeddingState::Off,
            },
            window: None,
            replayed: Some(list_state(first.window, sequence, false, at)),
            ..first.clone()
        }
    }

    fn store(&mut self, entry: &'a Entry, place: usize) -> Result<Recorded, &'static str> {
        let message = &entry.message;
        if matches!(entry.embedding, Embedding::Vector(_)) && self.settings.model.is_none() {
            return Err("a vector of no model"); // it could never be compared with another
        }
        let (id, at) = (self.own_id(message), self.plan.batch.at);
        let place = (self.plan.outcomes.len(), place);
        let chat = self.plan.conversations.get_or_begin(&message.guest);
        let sequence = chat.add(message, at, self.settings.list_ttl);
        chat.first.get_or_insert(place);
        if self.has_ids {
            self.added.insert(key_of(message), place);
        }
        self.plan.new_count += 1;
        let client_id = message.client_id.as_ref();
        Ok(Recorded {
            id,
            external_id: client_id.and_then(|sent| sent.beside(id)),
            conversation: chat.id,
            sequence,
            conversation_row: row_state(sequence),
            usage_row: RowState::Updated,
            embedding: entry.embedding.state(),
            window: chat.window,
            replayed: None,
        })
    }

    /// The message's own id: a new one if the client's id is another message's.
    fn own_id(&mut self, message: &NewMessage) -> MessageId {
        let is_free = !self.has_ids || self.stored.held.insert(message.id);
        match is_free || message.client_id.is_none() {
            true => message.id,
            false => MessageId(Uuid::now_v7()),
        }
    }
}

fn is_same(message: &NewMessage, earlier: &NewMessage) -> bool {
    let (sent_at, metadata) = (earlier.sent_at, earlier.metadata.as_ref());
    message.repeats(earlier.role, earlier.hash, sent_at, metadata)
}

#[cfg(test)]
mod tests {
    use super::super::stored_ids::{StoredMessage, client_ids};
    use super::*;
    use guestbook_core::{Content, Role, Timestamp, Ttl};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::time::Duration;

    const SETTINGS: TableSettings = TableSettings {
        list_ttl: Ttl(Duration::from_secs(10)),
        retention: None,
        model: None,
        cache_backend: "memory",
        text_index: false,
    };

    /// The store's state between batches.
    #[derive(Clone, Default)]
    struct Tables {
        chats: HashMap<GuestId, ConversationState>,
        messages: Vec<(GuestId, StoredMessage)>,
    }

    impl Tables {
        fn record(&mut self, seconds: i64, groups: &[Group]) -> Vec<Outcome> {
            let batch = Batch {
                at: Timestamp::from_ms(seconds * 1000),
                groups: groups.to_vec(),
                ..Batch::default()
            };
            let mut chats = Conversations::default();
            for chat in self.chats.values() {
                chats.insert(chat.clone());
            }
            let plan = plan(&batch, &SETTINGS, chats, self.stored(&batch)).unwrap();
            for (Entry { message, .. }, recorded) in plan.new_messages() {
                let guest = message.guest.clone();
                self.messages.push((guest, as_stored(message, recorded)));
            }
            for chat in plan.conversations.states {
                self.chats.insert(chat.guest.clone(), chat.written());
            }
            plan.outcomes
        }

        fn stored<'a>(&self, batch: &'a Batch) -> StoredIds<'a> {
            let mut stored = StoredIds::default();
            for (guest, id) in client_ids(batch) {
                for (owner, found) in &self.messages {
                    let is_beside = owner == guest && found.external_id.as_ref() == Some(id.key());
                    if is_beside || Some(found.id) == id.wanted() {
                        stored.add(guest, id, found.clone(), owner == guest);
                    }
                }
            }
            stored
        }
    }

    fn as_stored(message: &NewMessage, recorded: &Recorded) -> StoredMessage {
        StoredMessage {
            id: recorded.id,
            external_id: recorded.external_id.clone(),
            conversation: recorded.conversation,
            window: recorded.window,
            sequence: recorded.sequence,
            said: Some((message.role, message.hash)),
            sent_at: message.sent_at,
            metadata: None,
            is_synced: false,
            embedding: recorded.embedding,
        }
    }

    fn sent((name, id, text, is_part): (&str, Option<&str>, &str, bool)) -> Entry {
        let (guest, content) = (GuestId::parse(name).unwrap(), Content::from_stored(text));
        let (own, at) = (MessageId(Uuid::now_v7()), Timestamp::from_ms(0));
        let mut message = NewMessage::new(own, guest, Role::User, content, at);
        if let Some(id) = id {
            message = message.with_client_id(ClientId::parse(id).unwrap());
        }
        message.is_part = is_part;
        let embedding = Embedding::Off;
        Entry { message, embedding }
    }

    /// Hides generated ids, which may be random.
    fn shown(mut outcomes: Vec<Outcome>) -> Vec<Outcome> {
        for outcome in &mut outcomes {
            if let Outcome::Stored(recorded) = outcome {
                let beside = recorded.iter_mut().filter(|one| one.external_id.is_some());
                beside.for_each(|one| one.id = MessageId(Uuid::nil()));
            }
        }
        outcomes
    }

    const GUESTS: [&str; 2] = ["g0", "g1"];
    const UUID: &str = "00000000-0000-4000-8000-000000000000";

    /// Few guests, ids and texts, so that many messages repeat or contradict others.
    fn any_group() -> impl Strategy<Value = Group> {
        let id = prop::option::of(prop::sample::select(&["m0", "m1", UUID]));
        let text = prop::sample::select(&["one", "two"]);
        let message = (prop::sample::select(&GUESTS), id, text, any::<bool>());
        vec(message.prop_map(sent), 1..4).prop_map(Group)
    }

    proptest! {
        #[test]
        fn a_batch_does_what_its_groups_do_one_by_one(batches in vec(vec(any_group(), 1..8), 1..5)) {
            let mut tables = Tables::default();
            for (batch, groups) in batches.iter().enumerate() {
                if batch % 2 == 0 { // the conversations before are users' by now
                    let guests = GUESTS.map(|name| GuestId::parse(name).unwrap());
                    let begin = |guest: GuestId| (guest.clone(), ConversationState::begin(&guest));
                    tables.chats = guests.map(begin).into();
                }
                let seconds = 8 * batch as i64; // who is silent for a batch begins a new list
                let mut apart = tables.clone();
                let one_by_one = groups.chunks(1).flat_map(|group| apart.record(seconds, group)).collect();
                prop_assert_eq!(shown(tables.record(seconds, groups)), shown(one_by_one));
                prop_assert_eq!(&tables.chats, &apart.chats);
            }
        }
    }
}
