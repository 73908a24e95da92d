//! Ids under which guests sent the messages of a batch: asking for all of them at once, and what was found.

use super::error::{Attempt, Fault};
use super::rows::{count, get, id, text, time, window};
use super::session::{Statement, statement};
use super::sql;
use crate::chat::{ClientId, ConversationId, EmbeddingState, GuestId, MessageId, Metadata};
use crate::storage::database::Batch;
use crate::storage::repeats::Found;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio_postgres::Row;

/// Messages by the ids under which guests sent them.
#[derive(Debug, Default)]
pub(super) struct FoundIds {
    /// Those in conversations that the guest began.
    found: HashMap<(GuestId, Arc<str>), Vec<Found>>,
    /// Ids that messages have for their own.
    held: HashSet<MessageId>,
}

impl FoundIds {
    /// A message that is stored under `key`; `is_mine`: in a conversation that the guest began.
    pub(super) fn add(&mut self, guest: &GuestId, key: &Arc<str>, found: Found, is_mine: bool) {
        self.held.insert(found.id);
        if is_mine {
            let key = (guest.clone(), Arc::clone(key));
            self.found.entry(key).or_default().push(found);
        }
    }

    pub(super) fn of(&self, guest: &GuestId, id: &ClientId) -> &[Found] {
        let key = (guest.clone(), Arc::clone(id.key()));
        self.found.get(&key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_held(&self, id: MessageId) -> bool {
        self.held.contains(&id)
    }
}

/// Whether any id that a client chose is to be a message's own.
pub(super) fn wants_ids(batch: &Batch) -> bool {
    let mut ids = sent(batch).map(|(_, id)| id);
    ids.any(|id| id.wanted().is_some())
}

/// The ids that guests may have sent before, and those that tell whether an idempotency key was used for another request.
fn sent(batch: &Batch) -> impl Iterator<Item = (&GuestId, &ClientId)> {
    let entries = batch.groups.iter().flat_map(|group| &group.0);
    entries.flat_map(|entry| {
        let message = &entry.message;
        let ids = message.client_id.iter().chain(&message.rules_out);
        ids.map(|id| (&message.guest, id))
    })
}

/// The same as columns.
pub(super) struct AskedIds<'a> {
    owners: Vec<(&'a GuestId, &'a Arc<str>)>,
    pub(super) guests: Vec<&'a str>,
    pub(super) keys: Vec<&'a str>,
}

impl<'a> AskedIds<'a> {
    pub(super) fn of(batch: &'a Batch) -> Self {
        let mut owners: Vec<_> = sent(batch).map(|(guest, id)| (guest, id.key())).collect();
        owners.sort_unstable();
        owners.dedup();
        Self {
            guests: owners.iter().map(|(guest, _)| guest.as_str()).collect(),
            keys: owners.iter().map(|(_, key)| &***key).collect(),
            owners,
        }
    }

    pub(super) fn statement(&self) -> Statement<'_> {
        statement!(sql::MESSAGES_SENT; self.guests => TEXT_ARRAY, self.keys => TEXT_ARRAY)
    }

    /// The answer.
    pub(super) fn found(&self, rows: &[Row]) -> Attempt<FoundIds> {
        let mut sent = FoundIds::default();
        for row in rows {
            let place = usize::try_from(count(row, 0)?).unwrap_or(0);
            let asked = place
                .checked_sub(1)
                .and_then(|place| self.owners.get(place));
            let (guest, key) = asked.ok_or_else(|| Fault::Row("no such place".into()))?;
            let is_mine = text(row, 12)? == guest.as_str();
            sent.add(guest, key, found_message(row)?, is_mine);
        }
        Ok(sent)
    }
}

/// A row of `MESSAGES_SENT`.
fn found_message(row: &Row) -> Attempt<Found> {
    let external_id: Option<&str> = get(row, 2)?;
    let metadata: Option<&str> = get(row, 8)?;
    let noted: Option<&str> = get(row, 10)?;
    let has_vector: bool = get(row, 11)?;
    Ok(Found {
        id: MessageId(id(row, 1)?),
        external_id: external_id.map(Into::into),
        conversation: ConversationId(id(row, 3)?),
        window: window(row, 13)?,
        sequence: count(row, 4)?,
        role: get(row, 5)?,
        hash: get(row, 6)?,
        sent_at: time(row, 7)?,
        metadata: metadata.map(Metadata::from_stored),
        is_synced: get(row, 9)?,
        embedding: match noted.and_then(EmbeddingState::parse) {
            _ if has_vector => EmbeddingState::Stored,
            noted => noted.unwrap_or(EmbeddingState::Off),
        },
    })
}
