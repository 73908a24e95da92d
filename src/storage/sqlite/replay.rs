//! Messages that were stored before, found by the ids under which clients sent them.

use super::record::Recorder;
use super::rows::{self, Id, Time};
use super::sql;
use crate::chat::{
    ClientId, ConversationId, EmbeddingState, GuestId, MessageId, Metadata, NewMessage, Window,
};
use crate::storage::repeats::{Found, Known, Lookup, repeated};
use rusqlite::{OptionalExtension, Row, params};

impl Lookup for Recorder<'_> {
    type Error = rusqlite::Error;

    fn find(&self, message: &NewMessage, id: &ClientId) -> rusqlite::Result<Known> {
        let guest = &message.guest;
        let by_own = self.by_own_id(id)?;
        let (mine, is_held) = match by_own {
            Some(found) => match self.is_of(guest, &found)? {
                true => (Some(found), true),
                false => (None, true),
            },
            None => (None, false),
        };
        let found = mine.into_iter().chain(self.by_external_id(guest, id)?);
        let here = self.conversation(guest);
        let Some(found) = repeated(found.collect(), here, message) else {
            return Ok(Known::New { is_held });
        };
        let (_, window) = self.session_of(found.conversation)?;
        Ok(Known::Stored(Box::new(Found { window, ..found })))
    }

    fn is_stored(&self, guest: &GuestId, id: &ClientId) -> rusqlite::Result<bool> {
        let is_mine = match self.by_own_id(id)? {
            Some(found) => self.is_of(guest, &found)?,
            None => false,
        };
        Ok(is_mine || !self.by_external_id(guest, id)?.is_empty())
    }
}

impl Recorder<'_> {
    fn by_own_id(&self, id: &ClientId) -> rusqlite::Result<Option<Found>> {
        let Some(MessageId(own)) = id.wanted() else {
            return Ok(None);
        };
        let mut select = self.tx.prepare_cached(sql::MESSAGE_FIND)?;
        select.query_row([Id(own)], found).optional()
    }

    /// In the guest's conversation, and in those that the guest began and a user has now.
    fn by_external_id(&self, guest: &GuestId, id: &ClientId) -> rusqlite::Result<Vec<Found>> {
        let here = self.conversation(guest).map(|here| Id(here.0));
        let mut select = self.tx.prepare_cached(sql::MESSAGES_FIND_EXTERNAL)?;
        let rows = select.query_map(params![here, guest.as_str(), &**id.key()], found)?;
        rows.collect()
    }

    /// Whether a message is in a conversation that the guest began.
    fn is_of(&self, guest: &GuestId, found: &Found) -> rusqlite::Result<bool> {
        let (session, _) = self.session_of(found.conversation)?;
        Ok(session == guest.as_str())
    }

    /// Who began a conversation, and its list window. One that this batch has touched is not written yet.
    fn session_of(&self, id: ConversationId) -> rusqlite::Result<(String, Option<Window>)> {
        if let Some(chat) = self.chats.iter().find(|chat| chat.id == id) {
            return Ok((chat.guest.as_str().to_owned(), chat.window));
        }
        let read = |row: &Row<'_>| Ok((row.get(0)?, rows::window(row, 1)?));
        self.tx
            .prepare_cached(sql::SESSION_GET)?
            .query_row([Id(id.0)], read)
    }
}

/// A row of `MESSAGE_FIND`; the window is its conversation's.
fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    let noted = row.get_ref(5)?.as_str_or_null()?;
    let has_vector = row.get(6)?;
    Ok(Found {
        conversation: ConversationId(row.get::<_, Id>(0)?.0),
        window: None,
        sequence: row.get(1)?,
        role: row.get(2)?,
        hash: row.get(3)?,
        is_synced: row.get(4)?,
        embedding: match noted.and_then(EmbeddingState::parse) {
            _ if has_vector => EmbeddingState::Stored,
            noted => noted.unwrap_or(EmbeddingState::Off),
        },
        id: MessageId(row.get::<_, Id>(7)?.0),
        external_id: row.get_ref(8)?.as_str_or_null()?.map(Into::into),
        sent_at: row.get::<_, Time>(9)?.0,
        metadata: row
            .get_ref(10)?
            .as_str_or_null()?
            .map(Metadata::from_stored),
    })
}
