//! Messages that were stored before: a repeated id is answered as it was the first time, or refused.

use super::record::Recorder;
use super::rows::{self, Id};
use super::sql;
use crate::chat::{ConversationId, EmbeddingState, MessageId, NewMessage, RowState, Window};
use crate::storage::database::{Entry, Group, Recorded};
use crate::storage::open_chat::{Parts, listed_as};
use rusqlite::OptionalExtension;
use std::collections::HashMap;

/// A message that was stored before.
struct Found {
    conversation: ConversationId,
    sequence: u64,
    role: String,
    hash: String,
    is_synced: bool,
    embedding: EmbeddingState,
}

impl Recorder<'_> {
    /// The first message of the group that repeats an id with another guest, role or content: in the tables or in the
    /// group itself. Or the first that is new where others under the same key are not.
    pub(super) fn conflict(&self, group: &Group) -> rusqlite::Result<Option<(usize, MessageId)>> {
        let mut seen: HashMap<MessageId, &NewMessage> = HashMap::new();
        let mut parts = Parts::default();
        for (index, Entry { message, .. }) in group.0.iter().enumerate() {
            let earlier = seen.insert(message.id, message);
            if !message.may_repeat {
                continue; // an id of our own making; should it be there already, its insertion fails the batch
            }
            let same = match earlier {
                Some(other) => is_same(other, message),
                None => {
                    let found = self.find(message.id)?;
                    parts.see(index, message, found.is_some());
                    match found {
                        Some(found) => self.is_found(&found, message)?,
                        None => true,
                    }
                }
            };
            if !same {
                return Ok(Some((index, message.id)));
            }
        }
        Ok(parts.conflict())
    }

    fn find(&self, id: MessageId) -> rusqlite::Result<Option<Found>> {
        let read = |row: &rusqlite::Row<'_>| {
            let noted = row
                .get_ref(5)?
                .as_str_or_null()?
                .and_then(EmbeddingState::parse);
            let has_vector = row.get(6)?;
            Ok(Found {
                conversation: ConversationId(row.get::<_, Id>(0)?.0),
                sequence: row.get(1)?,
                role: row.get(2)?,
                hash: row.get(3)?,
                is_synced: row.get(4)?,
                embedding: if has_vector {
                    EmbeddingState::Stored
                } else {
                    noted.unwrap_or(EmbeddingState::Off)
                },
            })
        };
        self.tx
            .prepare_cached(sql::MESSAGE_FIND)?
            .query_row([Id(id.0)], read)
            .optional()
    }

    fn is_found(&self, found: &Found, message: &NewMessage) -> rusqlite::Result<bool> {
        let (session, _) = self.session_of(found.conversation)?;
        Ok(session == message.guest.as_str()
            && found.role == message.role.as_str()
            && found.hash == message.hash.to_hex())
    }

    /// Who began a conversation, and its list window. One that this batch has touched is not written yet.
    fn session_of(&self, id: ConversationId) -> rusqlite::Result<(String, Option<Window>)> {
        if let Some(chat) = self.chats.iter().find(|chat| chat.id == id) {
            return Ok((chat.guest.as_str().to_owned(), chat.window));
        }
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, rows::window(row, 1)?));
        self.tx
            .prepare_cached(sql::SESSION_GET)?
            .query_row([Id(id.0)], read)
    }

    /// The first answer again, for a message that is stored.
    pub(super) fn replay(&self, message: &NewMessage) -> rusqlite::Result<Option<Recorded>> {
        let found = if message.may_repeat {
            self.find(message.id)?
        } else {
            None
        };
        let Some(found) = found else { return Ok(None) };
        let (_, window) = self.session_of(found.conversation)?;
        let list = listed_as(window, found.sequence, found.is_synced, self.at);
        let row = if found.sequence == 0 {
            RowState::Created
        } else {
            RowState::Updated
        };
        Ok(Some(Recorded {
            id: message.id,
            conversation: found.conversation,
            sequence: found.sequence,
            conversation_row: row,
            usage_row: row,
            embedding: found.embedding,
            window: None,
            replayed: Some(list),
        }))
    }
}

fn is_same(one: &NewMessage, other: &NewMessage) -> bool {
    (&one.guest, one.role, one.hash) == (&other.guest, other.role, other.hash)
}
