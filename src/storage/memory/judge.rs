//! Decides the outcomes of a batch before anything of it is stored.

use super::NAME;
use super::tables::{MemoryTables, MessageRow};
use crate::database::{Batch, Entry, Group};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{
    ClientId, ConversationId, Digest, EmbeddingState, GuestId, MessageId, Metadata, NewMessage,
    Role, Timestamp,
};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The outcome of a group.
pub(super) enum Verdict {
    Store,
    Conflict { index: usize, id: ClientId },
}

/// What two messages under one id must have in common to be the same.
#[derive(Clone, Copy)]
pub(super) struct Identity<'a> {
    role: Role,
    hash: Digest,
    sent_at: Timestamp,
    metadata: Option<&'a Metadata>,
}

impl<'a> Identity<'a> {
    fn of(message: &'a NewMessage) -> Self {
        Self {
            role: message.role,
            hash: message.hash,
            sent_at: message.sent_at,
            metadata: message.metadata.as_ref(),
        }
    }

    pub(super) fn of_row(row: &'a MessageRow) -> Self {
        Self {
            role: row.message.role,
            hash: row.hash,
            sent_at: row.message.sent_at,
            metadata: row.message.metadata.as_ref(),
        }
    }

    pub(super) fn is(&self, message: &NewMessage) -> bool {
        message.repeats(self.role, self.hash, self.sent_at, self.metadata)
    }
}

/// A guest and an id.
type Sent<'a> = (&'a GuestId, Arc<str>);

/// Decides a batch, group by group, without changing anything.
pub(super) struct Judge<'a> {
    tables: &'a MemoryTables,
    ended: &'a BTreeSet<ConversationId>,
    /// The messages accepted so far.
    accepted: HashMap<Sent<'a>, Identity<'a>>,
    /// Their own ids.
    taken: HashSet<MessageId>,
    /// What the current group has added to both.
    added: Vec<(Sent<'a>, Option<MessageId>)>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(tables: &'a MemoryTables, ended: &'a BTreeSet<ConversationId>) -> Self {
        Self {
            tables,
            ended,
            accepted: HashMap::new(),
            taken: HashSet::new(),
            added: Vec::new(),
        }
    }

    pub(super) fn judge(mut self, batch: &'a Batch) -> Result<Vec<Verdict>> {
        let groups = batch.groups.iter();
        let group = |Group(entries): &'a Group| {
            self.added.clear();
            let verdict = self.group(entries)?;
            if matches!(verdict, Verdict::Conflict { .. }) {
                self.take_back();
            }
            Ok(verdict)
        };
        groups.map(group).collect()
    }

    fn group(&mut self, entries: &'a [Entry]) -> Result<Verdict> {
        let mut parts: Vec<(usize, &ClientId, bool)> = Vec::new();
        // Within a group an id has one content, also if that was stored in a chat that is a user's now.
        let mut said: HashMap<Sent<'a>, Identity<'a>> = HashMap::new();
        let ruled_out = self.ruled_out(entries);
        for (index, entry) in entries.iter().enumerate() {
            let message = &entry.message;
            self.check_model(entry)?;
            let Some(id) = &message.client_id else {
                if self.is_held(message.id) {
                    let id = message.id;
                    return Err(invalid(format!("message {id} is stored already")));
                }
                self.accept(message, message.id.to_string().into());
                continue;
            };
            let earlier = said.insert(
                (&message.guest, Arc::clone(id.key())),
                Identity::of(message),
            );
            match earlier {
                Some(earlier) if earlier.is(message) => continue,
                Some(_) => {
                    let id = id.clone();
                    return Ok(Verdict::Conflict { index, id });
                }
                None => {}
            }
            let known = self.known(message, id);
            parts.extend(message.is_part.then_some((index, id, known.is_some())));
            match known {
                None => self.accept(message, Arc::clone(id.key())),
                Some(known) if known.is(message) => {}
                Some(_) => {
                    let id = id.clone();
                    return Ok(Verdict::Conflict { index, id });
                }
            }
        }
        // Some parts are stored and others are not: the key was used for other messages.
        let new = parts.iter().find(|(.., is_known)| !is_known);
        if let Some((index, id, _)) = new.filter(|_| parts.iter().any(|(.., known)| *known)) {
            let (index, id) = (*index, (*id).clone());
            return Ok(Verdict::Conflict { index, id });
        }
        Ok(ruled_out.map_or(Verdict::Store, |id| {
            let index = entries.len();
            Verdict::Conflict { index, id }
        }))
    }

    /// The first id that was used under the same key by another request; checked before anything of the group is accepted.
    fn ruled_out(&self, entries: &'a [Entry]) -> Option<ClientId> {
        let messages = entries.iter().map(|entry| &entry.message);
        let mut ids = messages.flat_map(|one| one.rules_out.iter().map(move |id| (one, id)));
        let found = ids.find(|(one, id)| self.is_sent(&one.guest, id));
        found.map(|(_, id)| id.clone())
    }

    fn accept(&mut self, message: &'a NewMessage, key: Arc<str>) {
        let sent = (&message.guest, key);
        let own = (!self.is_held(message.id)).then_some(message.id);
        self.taken.extend(own);
        self.added.push((sent.clone(), own));
        self.accepted.insert(sent, Identity::of(message));
    }

    /// Rolls back the current group: none of it will be stored, so nothing may count as its repetition.
    fn take_back(&mut self) {
        for (sent, id) in self.added.drain(..) {
            self.accepted.remove(&sent);
            if let Some(id) = id {
                self.taken.remove(&id);
            }
        }
    }

    /// Whether this id is a message's own id.
    fn is_held(&self, id: MessageId) -> bool {
        let stored = self.tables.messages.get(&id);
        let stored = stored.is_some_and(|row| !self.ended.contains(&row.conversation));
        stored || self.taken.contains(&id)
    }

    fn known(&self, message: &'a NewMessage, id: &ClientId) -> Option<Identity<'a>> {
        let accepted = self.accepted.get(&(&message.guest, Arc::clone(id.key())));
        let tables: &'a MemoryTables = self.tables;
        let stored = || {
            tables
                .sent_before(message, self.ended)
                .map(Identity::of_row)
        };
        accepted.copied().or_else(stored)
    }

    fn is_sent(&self, guest: &'a GuestId, id: &ClientId) -> bool {
        let accepted = self.accepted.contains_key(&(guest, Arc::clone(id.key())));
        accepted || !self.tables.under(guest, id, self.ended).is_empty()
    }

    /// Rejects a vector without a model, which could never be compared.
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
