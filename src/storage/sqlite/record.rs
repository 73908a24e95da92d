//! Steps 2-7 of a batch of messages, in one transaction.
//!
//! Each guest's conversation is read once per batch and written once at its end; between, only messages, vectors and
//! mappings are inserted. What a message costs is thereby three inserts, plus its guest's share of three more statements.

use super::rows::{Id, Time};
use super::{SqliteDatabase, chats, outbox, rows, sql};
use crate::chat::{
    ConversationId, Digest, EmbeddingState, GuestId, ListState, MessageId, NewMessage, OwnerId,
    Role, RowState, Timestamp, Usage, Window, chain_link, chain_start, content_hash, title,
};
use crate::error::Result;
use crate::storage::database::{Batch, Embedding, Entry, Group, Outcome, Recorded, TableSettings};
use rusqlite::{OptionalExtension, Transaction, params};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

impl SqliteDatabase {
    pub(super) async fn record_batch(&self, batch: Arc<Batch>) -> Result<Vec<Outcome>> {
        self.write("record", move |tx, settings| {
            outbox::settle(tx, &batch.settled, &batch.tally.owners, batch.at)?;
            let mut recorder = Recorder::new(tx, settings, batch.at);
            for entry in batch.groups.iter().flat_map(|group| &group.0) {
                // Before anything else, because this removes chats that retention has ended: none of their messages may be
                // found again, nor be in the way of a new one.
                recorder.chat(&entry.message.guest)?;
            }
            let mut outcomes = Vec::with_capacity(batch.groups.len());
            for group in &batch.groups {
                outcomes.push(recorder.group(group)?);
            }
            recorder.finish(&mut outcomes)?;
            let stored = recorder.stored;
            if stored > 0 || !batch.tally.is_empty() {
                outbox::count(tx, batch.at, stored, stored, &batch.tally)?;
            }
            Ok(outcomes)
        })
        .await
    }
}

struct Recorder<'a> {
    tx: &'a Transaction<'a>,
    settings: &'a TableSettings,
    at: Timestamp,
    /// The chats this batch has touched, in the order of their first message, and where to find them by guest.
    chats: Vec<Chat>,
    by_guest: HashMap<GuestId, usize>,
    /// Groups seen, to find an outcome again.
    groups: usize,
    stored: i64,
}

/// A guest's conversation while the batch adds to it.
struct Chat {
    id: ConversationId,
    guest: GuestId,
    is_new: bool,
    title: String,
    has_user_message: bool,
    hash: Digest,
    message_count: u64,
    total_tokens: u64,
    window: Option<Window>,
    /// Set when the window began anew in this batch: earlier messages are no longer in the list.
    lapsed: bool,
    counted: Usage,
    /// Where this chat's first stored message is among the outcomes: group, place in it.
    first: Option<(usize, usize)>,
}

/// A message that was stored before.
struct Found {
    conversation: ConversationId,
    sequence: u64,
    role: String,
    hash: String,
    is_synced: bool,
    embedding: EmbeddingState,
}

impl<'a> Recorder<'a> {
    fn new(tx: &'a Transaction<'a>, settings: &'a TableSettings, at: Timestamp) -> Self {
        Self {
            tx,
            settings,
            at,
            chats: Vec::new(),
            by_guest: HashMap::new(),
            groups: 0,
            stored: 0,
        }
    }

    fn group(&mut self, group: &Group) -> rusqlite::Result<Outcome> {
        if let Some((index, id)) = self.conflict(group)? {
            self.groups += 1;
            return Ok(Outcome::Conflict { index, id });
        }
        let mut recorded = Vec::with_capacity(group.0.len());
        for entry in &group.0 {
            let replay = self.replay(&entry.message)?;
            recorded.push(match replay {
                Some(replay) => replay,
                None => self.store(entry, recorded.len())?,
            });
        }
        self.groups += 1;
        Ok(Outcome::Stored(recorded))
    }

    /// The first message of the group that repeats an id with another guest, role or content: in the tables or in the
    /// group itself.
    fn conflict(&self, group: &Group) -> rusqlite::Result<Option<(usize, MessageId)>> {
        let mut seen: HashMap<MessageId, &NewMessage> = HashMap::new();
        for (index, Entry { message, .. }) in group.0.iter().enumerate() {
            let earlier = seen.insert(message.id, message);
            if !message.may_repeat {
                continue; // an id of our own making; should it be there already, its insertion fails the batch
            }
            let same = match earlier {
                Some(other) => is_same(other, message),
                None => match self.find(message.id)? {
                    Some(found) => self.is_found(&found, message)?,
                    None => true,
                },
            };
            if !same {
                return Ok(Some((index, message.id)));
            }
        }
        Ok(None)
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

    fn replay(&self, message: &NewMessage) -> rusqlite::Result<Option<Recorded>> {
        let found = if message.may_repeat {
            self.find(message.id)?
        } else {
            None
        };
        let Some(found) = found else { return Ok(None) };
        let (_, window) = self.session_of(found.conversation)?;
        let listed =
            window.is_some_and(|window| window.is_live(self.at) && window.from <= found.sequence);
        // Expired goes before stored: a list may be gone before that was noted.
        let list = match (listed, found.is_synced) {
            (false, _) => ListState::Expired,
            (true, true) => ListState::Stored,
            (true, false) => ListState::Pending,
        };
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

    fn store(&mut self, entry: &Entry, place: usize) -> rusqlite::Result<Recorded> {
        let message = &entry.message;
        let chat = self.chat(&message.guest)?;
        let (ttl, at, groups) = (self.settings.list_ttl, self.at, self.groups);
        let chat = &mut self.chats[chat];
        let sequence = chat.take(message, at, ttl);
        chat.first.get_or_insert((groups, place));
        let recorded = Recorded {
            id: message.id,
            conversation: chat.id,
            sequence,
            conversation_row: if sequence == 0 {
                RowState::Created
            } else {
                RowState::Updated
            },
            usage_row: RowState::Updated,
            embedding: entry.embedding.state(),
            window: chat.window,
            replayed: None,
        };
        let conversation = chat.id;
        self.insert_message(message, conversation, sequence)?;
        self.insert_vector(message.id, conversation, &entry.embedding)?;
        let id = Id(message.id.0);
        let mapping = params![
            id,
            message.guest.as_str(),
            self.settings.cache_backend,
            Time(at)
        ];
        self.tx
            .prepare_cached(sql::MAPPING_INSERT)?
            .execute(mapping)?;
        self.stored += 1;
        Ok(recorded)
    }

    fn insert_message(
        &self,
        message: &NewMessage,
        conversation: ConversationId,
        sequence: u64,
    ) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(sql::MESSAGE_INSERT)?
            .execute(params![
                Id(message.id.0),
                Id(conversation.0),
                message.role.as_str(),
                message.content.as_str(),
                message.hash.to_hex(),
                message.tokens,
                sequence,
                message.metadata.as_ref().map(|metadata| metadata.as_str()),
                Time(message.sent_at),
                Time(self.at),
            ])?;
        Ok(())
    }

    fn insert_vector(
        &self,
        id: MessageId,
        conversation: ConversationId,
        embedding: &Embedding,
    ) -> rusqlite::Result<()> {
        let Some(model) = &self.settings.model else {
            return match embedding {
                // A vector without a model could never be compared with another.
                Embedding::Vector(_) => Err(rusqlite::Error::ToSqlConversionFailure(
                    "a vector of no model".into(),
                )),
                _ => Ok(()),
            };
        };
        let (attempts, cause) = match embedding {
            Embedding::Vector(vector) => {
                let bytes = vector.to_bytes();
                let row = params![
                    Id(id.0),
                    Id(conversation.0),
                    bytes,
                    model.as_str(),
                    bytes.len(),
                    Time(self.at)
                ];
                self.tx.prepare_cached(sql::VECTOR_PUT)?.execute(row)?;
                return Ok(());
            }
            Embedding::Off => return Ok(()),
            Embedding::Failed(cause) => (1, cause.as_str()),
            Embedding::Nothing => (1, ""),
            Embedding::Pending => (0, ""),
        };
        let note = params![
            Id(id.0),
            embedding.state().as_str(),
            model.as_str(),
            attempts,
            cause,
            Time(self.at)
        ];
        self.tx.prepare_cached(sql::NOTE_PUT)?.execute(note)?;
        Ok(())
    }

    /// The place of the guest's chat among `chats`, reading or beginning it first where needed.
    fn chat(&mut self, guest: &GuestId) -> rusqlite::Result<usize> {
        if let Some(place) = self.by_guest.get(guest) {
            return Ok(*place);
        }
        let chat = match self.load(guest)? {
            Some(chat) => chat,
            None => Chat::begin(guest, ConversationId(Uuid::now_v7())),
        };
        self.chats.push(chat);
        self.by_guest.insert(guest.clone(), self.chats.len() - 1);
        Ok(self.chats.len() - 1)
    }

    fn load(&self, guest: &GuestId) -> rusqlite::Result<Option<Chat>> {
        let read = |row: &rusqlite::Row<'_>| {
            let stored_hash = row.get_ref(2)?.as_str()?;
            let chat = Chat {
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
        let found = self
            .tx
            .prepare_cached(sql::CHAT_GET)?
            .query_row([guest.as_str()], read)
            .optional()?;
        let Some((mut chat, expires_at)) = found else {
            return Ok(None);
        };
        if expires_at.is_some_and(|end| end <= self.at) {
            chats::erase_conversation(self.tx, chat.id, &OwnerId::from(guest), self.at)?;
            return Ok(None);
        }
        if chat.title == title(guest.as_str(), None) {
            let asked = self
                .tx
                .prepare_cached(sql::CHAT_HAS_USER_MESSAGE)?
                .query_row([Id(chat.id.0)], |row| row.get(0));
            chat.has_user_message = asked?;
        }
        Ok(Some(chat))
    }

    /// Writes each chat's row and its owner's usage, and completes the outcomes with who was created.
    fn finish(&mut self, outcomes: &mut [Outcome]) -> rusqlite::Result<()> {
        for chat in &self.chats {
            let Some((group, place)) = chat.first else {
                continue;
            };
            self.write_chat(chat)?;
            let counted = &chat.counted;
            let row = params![
                Id(Uuid::now_v7()),
                chat.guest.as_str(),
                counted.total_requests,
                counted.total_input_tokens,
                counted.total_output_tokens,
                Time(self.at)
            ];
            let total: u64 = self
                .tx
                .prepare_cached(sql::USAGE_COUNT)?
                .query_row(row, |row| row.get(0))?;
            if total == counted.total_requests
                && let Outcome::Stored(recorded) = &mut outcomes[group]
            {
                recorded[place].usage_row = RowState::Created;
            }
        }
        Ok(())
    }

    fn write_chat(&self, chat: &Chat) -> rusqlite::Result<()> {
        let expires_at = self.settings.retention.map(|span| Time(self.at.plus(span)));
        let (from, list_expires_at) = chat
            .window
            .map(|window| (window.from, Time(window.expires_at)))
            .unzip();
        let (id, hash, at) = (Id(chat.id.0), chat.hash.to_hex(), Time(self.at));
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
            self.tx.prepare_cached(sql::CHAT_INSERT)?.execute(row)?;
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
            self.tx.prepare_cached(sql::CHAT_UPDATE)?.execute(row)?;
        }
        if chat.lapsed {
            self.tx
                .prepare_cached(sql::MAPPINGS_UNSYNC)?
                .execute(params![id, from])?;
        }
        Ok(())
    }
}

fn is_same(one: &NewMessage, other: &NewMessage) -> bool {
    (&one.guest, one.role, one.hash) == (&other.guest, other.role, other.hash)
}

impl Chat {
    fn begin(guest: &GuestId, id: ConversationId) -> Self {
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
    fn take(&mut self, message: &NewMessage, at: Timestamp, ttl: crate::chat::Ttl) -> u64 {
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
}
