//! The row of a guest's conversation: read once per batch, written once at its end.

use super::rows::{self, Id, Time};
use super::{chats, sql};
use guestbook_core::{ConversationId, GuestId, OwnerId, Timestamp, Usage, title};
use guestbook_storage::conversation_state::ConversationState;
use rusqlite::{OptionalExtension, Transaction, params};
use std::time::Duration;

/// Reads a guest's conversation. One that retention has ended by `at` is erased instead.
pub(super) fn load(
    tx: &Transaction<'_>,
    guest: &GuestId,
    at: Timestamp,
) -> rusqlite::Result<Option<ConversationState>> {
    let read = |row: &rusqlite::Row<'_>| {
        let stored_hash = row.get_ref(2)?.as_str()?;
        let chat = ConversationState {
            id: ConversationId(row.get::<_, Id>(0)?.0),
            guest: guest.clone(),
            is_new: false,
            title: row.get(1)?,
            has_user_message: None,
            hash: ConversationState::head(stored_hash),
            message_count: row.get(3)?,
            total_tokens: row.get(4)?,
            window: rows::window(row, 6)?,
            expired: false,
            counted: Usage::default(),
            first: None,
        };
        Ok((chat, row.get::<_, Option<Time>>(5)?.map(|time| time.0)))
    };
    let found = tx
        .prepare_cached(sql::CHAT_GET)?
        .query_row([guest.as_str()], read)
        .optional()?;
    let Some((mut chat, expires_at)) = found else {
        return Ok(None);
    };
    if expires_at.is_some_and(|end| end <= at) {
        chats::erase_conversation(tx, chat.id, &OwnerId::from(guest), at)?;
        return Ok(None);
    }
    if chat.title != title(guest.as_str(), None) {
        chat.has_user_message = Some(true);
    }
    Ok(Some(chat))
}

/// Looks for a message of the user's. Needed only until the first one is stored: without one this reads every message.
pub(super) fn look_for_user_message(
    tx: &Transaction<'_>,
    chat: &mut ConversationState,
) -> rusqlite::Result<()> {
    if chat.has_user_message.is_none() {
        let mut select = tx.prepare_cached(sql::CHAT_HAS_USER_MESSAGE)?;
        chat.has_user_message = Some(select.query_row([Id(chat.id.0)], |row| row.get(0))?);
    }
    Ok(())
}

/// Writes the row, and clears the sync marks of messages that fell out of the list.
pub(super) fn write(
    tx: &Transaction<'_>,
    chat: &ConversationState,
    at: Timestamp,
    retention: Option<Duration>,
) -> rusqlite::Result<()> {
    let expires_at = retention.map(|span| Time(at.plus(span)));
    let (from, list_expires_at) = chat
        .window
        .map(|window| (window.from, Time(window.expires_at)))
        .unzip();
    let (id, hash, at) = (Id(chat.id.0), chat.hash.to_hex(), Time(at));
    let (count, tokens) = (chat.message_count, chat.total_tokens);
    if chat.is_new {
        let guest = chat.guest.as_str();
        let row = params![
            id,
            guest,
            chat.title,
            hash,
            count,
            tokens,
            at,
            expires_at,
            from,
            list_expires_at
        ];
        tx.prepare_cached(sql::CHAT_INSERT)?.execute(row)?;
    } else {
        let row = params![
            id,
            chat.title,
            hash,
            count,
            tokens,
            at,
            expires_at,
            from,
            list_expires_at
        ];
        tx.prepare_cached(sql::CHAT_UPDATE)?.execute(row)?;
    }
    if chat.expired {
        tx.prepare_cached(sql::MAPPINGS_UNSYNC)?
            .execute(params![id, from])?;
    }
    Ok(())
}
