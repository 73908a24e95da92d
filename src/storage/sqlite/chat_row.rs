//! A guest's conversation while a batch adds to it: read once, written once.

use super::rows::{self, Id, Time};
use super::{chats, sql};
use crate::chat::{
    ConversationId, Digest, GuestId, NewMessage, OwnerId, Role, Timestamp, Ttl, Usage, Window,
    chain_link, chain_start, content_hash, title,
};
use rusqlite::{OptionalExtension, Transaction, params};
use std::time::Duration;

/// A guest's conversation while the batch adds to it.
pub(super) struct Chat {
    pub(super) id: ConversationId,
    pub(super) guest: GuestId,
    pub(super) is_new: bool,
    pub(super) title: String,
    pub(super) has_user_message: bool,
    pub(super) hash: Digest,
    pub(super) message_count: u64,
    pub(super) total_tokens: u64,
    pub(super) window: Option<Window>,
    /// Set when the window began anew in this batch: earlier messages are no longer in the list.
    pub(super) lapsed: bool,
    pub(super) counted: Usage,
    /// Where this chat's first stored message is among the outcomes: group, place in it.
    pub(super) first: Option<(usize, usize)>,
}

impl Chat {
    /// A conversation without a message.
    pub(super) fn begin(guest: &GuestId, id: ConversationId) -> Self {
        Self {
            id,
            guest: guest.clone(),
            is_new: true,
            title: title(guest.as_str(), None),
            has_user_message: false,
            hash: chain_start(id),
            message_count: 0,
            total_tokens: 0,
            window: None,
            lapsed: false,
            counted: Usage::default(),
            first: None,
        }
    }

    /// Adds a message and returns its sequence.
    pub(super) fn take(&mut self, message: &NewMessage, at: Timestamp, ttl: Ttl) -> u64 {
        let sequence = self.message_count;
        if message.role == Role::User && !self.has_user_message {
            self.title = title(self.guest.as_str(), Some(message.content.as_str()));
            self.has_user_message = true;
        }
        let window = Window::advance(self.window, sequence, at, ttl);
        self.lapsed |= window.from == sequence && sequence > 0;
        self.window = Some(window);
        self.hash = chain_link(
            self.hash,
            sequence,
            message.role,
            message.hash,
            message.sent_at,
        );
        self.message_count += 1;
        self.total_tokens += message.tokens;
        self.counted.count(message.role, message.tokens);
        sequence
    }

    /// Reads a guest's conversation. One that retention has ended by `at` is erased and is none.
    pub(super) fn load(
        tx: &Transaction<'_>,
        guest: &GuestId,
        at: Timestamp,
    ) -> rusqlite::Result<Option<Self>> {
        let read = |row: &rusqlite::Row<'_>| {
            let stored_hash = row.get_ref(2)?.as_str()?;
            let chat = Self {
                id: ConversationId(row.get::<_, Id>(0)?.0),
                guest: guest.clone(),
                is_new: false,
                title: row.get(1)?,
                has_user_message: true,
                // A damaged head is continued from what stands there: the guest can go on, and verify still tells.
                hash: Digest::from_hex(stored_hash).unwrap_or_else(|| content_hash(stored_hash)),
                message_count: row.get(3)?,
                total_tokens: row.get(4)?,
                window: rows::window(row, 6)?,
                lapsed: false,
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
        if chat.title == title(guest.as_str(), None) {
            let asked = tx
                .prepare_cached(sql::CHAT_HAS_USER_MESSAGE)?
                .query_row([Id(chat.id.0)], |row| row.get(0));
            chat.has_user_message = asked?;
        }
        Ok(Some(chat))
    }

    /// Writes the row, and takes back the marks of messages that fell out of the list.
    pub(super) fn write(
        &self,
        tx: &Transaction<'_>,
        at: Timestamp,
        retention: Option<Duration>,
    ) -> rusqlite::Result<()> {
        let expires_at = retention.map(|span| Time(at.plus(span)));
        let (from, list_expires_at) = self
            .window
            .map(|window| (window.from, Time(window.expires_at)))
            .unzip();
        let (id, hash, at) = (Id(self.id.0), self.hash.to_hex(), Time(at));
        let (count, tokens) = (self.message_count, self.total_tokens);
        if self.is_new {
            let guest = self.guest.as_str();
            let row = params![
                id,
                guest,
                self.title,
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
                self.title,
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
        if self.lapsed {
            tx.prepare_cached(sql::MAPPINGS_UNSYNC)?
                .execute(params![id, from])?;
        }
        Ok(())
    }
}
