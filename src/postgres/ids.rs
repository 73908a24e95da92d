//! The client ids of a batch: one query for all of them, and its results.

use super::error::{Attempt, PostgresFault};
use super::rows::{count, get, id, text, time, window};
use super::session::{Statement, statement};
use super::sql;
use guestbook_core::{ClientId, ConversationId, GuestId, MessageId, Metadata};
use guestbook_storage::database::Batch;
use guestbook_storage::stored_ids::{StoredIds, StoredMessage, client_ids};
use tokio_postgres::Row;

/// Whether a message is to get a client's id as its own.
pub(super) fn wants_ids(batch: &Batch) -> bool {
    let mut ids = client_ids(batch).into_iter();
    ids.any(|(_, id)| id.wanted().is_some())
}

/// The ids of a batch as columns.
pub(super) struct AskedIds<'a> {
    ids: Vec<(&'a GuestId, &'a ClientId)>,
    pub(super) guests: Vec<&'a str>,
    pub(super) keys: Vec<&'a str>,
}

impl<'a> AskedIds<'a> {
    pub(super) fn of(batch: &'a Batch) -> Self {
        let ids = client_ids(batch);
        Self {
            guests: ids.iter().map(|(guest, _)| guest.as_str()).collect(),
            keys: ids.iter().map(|(_, id)| &**id.key()).collect(),
            ids,
        }
    }

    pub(super) fn statement(&self) -> Statement<'_> {
        statement!(sql::MESSAGES_SENT; self.guests => TEXT_ARRAY, self.keys => TEXT_ARRAY)
    }

    /// Reads the results.
    pub(super) fn found(&self, rows: &[Row]) -> Attempt<StoredIds<'a>> {
        let mut stored = StoredIds::default();
        for row in rows {
            let place = usize::try_from(count(row, 0)?).unwrap_or(0);
            let key = place.checked_sub(1).and_then(|place| self.ids.get(place));
            let (guest, id) = key.ok_or_else(|| PostgresFault::Row("no such place".into()))?;
            let is_mine = text(row, 12)? == guest.as_str();
            stored.add(guest, id, stored_message(row)?, is_mine);
        }
        Ok(stored)
    }
}

/// A row of `MESSAGES_SENT`.
fn stored_message(row: &Row) -> Attempt<StoredMessage> {
    let external_id: Option<&str> = get(row, 2)?;
    let metadata: Option<&str> = get(row, 8)?;
    Ok(StoredMessage {
        id: MessageId(id(row, 1)?),
        external_id: external_id.map(Into::into),
        conversation: ConversationId(id(row, 3)?),
        window: window(row, 13)?,
        sequence: count(row, 4)?,
        said: StoredMessage::said(text(row, 5)?, text(row, 6)?),
        sent_at: time(row, 7)?,
        metadata: metadata.map(Metadata::from_stored),
        is_synced: get(row, 9)?,
        embedding: StoredMessage::embedding(get(row, 10)?, get(row, 11)?),
    })
}
