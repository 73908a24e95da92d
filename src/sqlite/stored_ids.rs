//! Reads the messages stored under client ids.

use super::rows::{self, Id, Time};
use super::sql;
use guestbook_core::{ClientId, ConversationId, GuestId, MessageId, Metadata};
use guestbook_storage::conversation_state::Conversations;
use guestbook_storage::database::Batch;
use guestbook_storage::stored_ids::{StoredIds, StoredMessage, client_ids};
use rusqlite::{OptionalExtension, Row, Transaction, params};

/// The messages stored under the ids of a batch.
pub(super) fn read<'a>(
    tx: &Transaction<'_>,
    batch: &'a Batch,
    conversations: &Conversations,
) -> rusqlite::Result<StoredIds<'a>> {
    let mut stored = StoredIds::default();
    for (guest, id) in client_ids(batch) {
        let here = conversations.get(guest).map(|chat| chat.id);
        let own = by_own_id(tx, id)?.into_iter();
        for mut found in own.chain(by_external_id(tx, here, guest, id)?) {
            let is_mine = Some(found.conversation) == here || is_of(tx, guest, &mut found)?;
            stored.add(guest, id, found, is_mine);
        }
    }
    Ok(stored)
}

fn by_own_id(tx: &Transaction<'_>, id: &ClientId) -> rusqlite::Result<Option<StoredMessage>> {
    let Some(MessageId(own)) = id.wanted() else {
        return Ok(None);
    };
    let mut select = tx.prepare_cached(sql::MESSAGE_FIND)?;
    select.query_row([Id(own)], message).optional()
}

/// In the guest's conversation, and in those that the guest began and a user has now.
fn by_external_id(
    tx: &Transaction<'_>,
    here: Option<ConversationId>,
    guest: &GuestId,
    id: &ClientId,
) -> rusqlite::Result<Vec<StoredMessage>> {
    let here = here.map(|here| Id(here.0));
    let mut select = tx.prepare_cached(sql::MESSAGES_FIND_EXTERNAL)?;
    let rows = select.query_map(params![here, guest.as_str(), &**id.key()], message)?;
    rows.collect()
}

/// Whether a message is in a conversation that the guest began; records that conversation's list window.
fn is_of(
    tx: &Transaction<'_>,
    guest: &GuestId,
    found: &mut StoredMessage,
) -> rusqlite::Result<bool> {
    let mut select = tx.prepare_cached(sql::SESSION_GET)?;
    select.query_row([Id(found.conversation.0)], |row| {
        found.window = rows::window(row, 1)?;
        Ok(row.get_ref(0)?.as_str()? == guest.as_str())
    })
}

/// A row of `MESSAGE_FIND`; the window is its conversation's.
fn message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    let metadata = row.get_ref(10)?.as_str_or_null()?;
    Ok(StoredMessage {
        conversation: ConversationId(row.get::<_, Id>(0)?.0),
        window: None,
        sequence: row.get(1)?,
        said: StoredMessage::said(row.get_ref(2)?.as_str()?, row.get_ref(3)?.as_str()?),
        is_synced: row.get(4)?,
        embedding: StoredMessage::embedding(row.get_ref(5)?.as_str_or_null()?, row.get(6)?),
        id: MessageId(row.get::<_, Id>(7)?.0),
        external_id: row.get_ref(8)?.as_str_or_null()?.map(Into::into),
        sent_at: row.get::<_, Time>(9)?.0,
        metadata: metadata.map(Metadata::from_stored),
    })
}
