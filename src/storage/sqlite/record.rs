//! Steps 2-7 of a batch of messages, in one transaction.
//!
//! Each guest's conversation is read once per batch and written once at its end; between, only messages, vectors and
//! mappings are inserted. What a message costs is thereby three inserts, plus its guest's share of three more statements.

use super::error::{carry, is_taken};
use super::rows::{Id, Time};
use super::{NAME, SqliteDatabase, chat_row, outbox, sql, text};
use crate::chat::{ConversationId, GuestId, MessageId, NewMessage, Role, RowState, Timestamp};
use crate::error::Result;
use crate::storage::database::{Batch, Embedding, Entry, Group, Outcome, Recorded, TableSettings};
use crate::storage::open_chat::{OpenChat, miscounted};
use crate::storage::repeats::{Fate, Ids, Verdict, again, judge};
use rusqlite::{CachedStatement, Transaction, params};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

impl SqliteDatabase {
    pub(super) async fn record_batch(&self, batch: Arc<Batch>) -> Result<Vec<Outcome>> {
        self.write("record", move |tx, settings| {
            outbox::settle(tx, &batch.settled, &batch.tally.owners, batch.at)?;
            let mut recorder = Recorder::new(tx, settings, batch.at)?;
            for entry in batch.groups.iter().flat_map(|group| &group.0) {
                // Before anything else, because this removes chats that retention has ended: none of their messages may be
                // found again, nor be in the way of a new one.
                recorder.look(&entry.message.guest)?;
            }
            // Here, because rows of the chats that were just removed may be given again.
            let last = settings.text_index.then(|| text::last(tx)).transpose()?;
            let mut outcomes = Vec::with_capacity(batch.groups.len());
            for group in &batch.groups {
                outcomes.push(recorder.group(group)?);
            }
            recorder.finish(&mut outcomes)?;
            let stored = recorder.stored;
            if let Some(last) = last.filter(|_| stored > 0) {
                text::take_in(tx, last)?;
            }
            if stored > 0 || !batch.tally.is_empty() {
                outbox::count(tx, batch.at, stored, stored, &batch.tally)?;
            }
            Ok(outcomes)
        })
        .await
    }
}

pub(super) struct Recorder<'a> {
    pub(super) tx: &'a Transaction<'a>,
    settings: &'a TableSettings,
    pub(super) at: Timestamp,
    /// The chats of this batch's guests, read or begun.
    pub(super) chats: Vec<OpenChat>,
    /// Where to find them; `None` where a guest has no chat yet.
    by_guest: HashMap<GuestId, Option<usize>>,
    /// Groups seen, to find an outcome again.
    groups: usize,
    stored: i64,
    /// What every message needs: looking a statement up costs a few percent of running it.
    insert_message: CachedStatement<'a>,
    insert_vector: CachedStatement<'a>,
    insert_mapping: CachedStatement<'a>,
}

impl<'a> Recorder<'a> {
    fn new(
        tx: &'a Transaction<'a>,
        settings: &'a TableSettings,
        at: Timestamp,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            tx,
            settings,
            at,
            chats: Vec::new(),
            by_guest: HashMap::new(),
            groups: 0,
            stored: 0,
            insert_message: tx.prepare_cached(sql::MESSAGE_INSERT)?,
            insert_vector: tx.prepare_cached(sql::VECTOR_PUT)?,
            insert_mapping: tx.prepare_cached(sql::MAPPING_INSERT)?,
        })
    }

    fn group(&mut self, group: &Group) -> rusqlite::Result<Outcome> {
        let fates = match judge(group, self)? {
            Verdict::Conflict(index, id) => {
                self.groups += 1;
                return Ok(Outcome::Conflict { index, id });
            }
            Verdict::Store(fates) => fates,
        };
        let mut recorded: Vec<Recorded> = Vec::with_capacity(group.0.len());
        for (entry, fate) in group.0.iter().zip(fates) {
            recorded.push(match fate {
                Fate::Store(ids) => self.store(entry, ids, recorded.len())?,
                Fate::Replay(found) => found.recorded(self.at),
                Fate::Again(place) => again(&recorded[place], self.at),
            });
        }
        self.groups += 1;
        Ok(Outcome::Stored(recorded))
    }

    fn store(&mut self, entry: &Entry, ids: Ids, place: usize) -> rusqlite::Result<Recorded> {
        let message = &entry.message;
        let chat = self.chat(&message.guest);
        let (ttl, at, groups) = (self.settings.list_ttl, self.at, self.groups);
        let chat = &mut self.chats[chat];
        if message.role == Role::User {
            chat_row::look_for_user_message(self.tx, chat)?;
        }
        let sequence = chat.take(message, at, ttl);
        chat.first.get_or_insert((groups, place));
        let recorded = Recorded {
            id: ids.own,
            external_id: ids.external,
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
        self.insert_message(message, &recorded)?;
        self.insert_vector(recorded.id, conversation, &entry.embedding)?;
        let id = Id(recorded.id.0);
        let mapping = params![
            id,
            message.guest.as_str(),
            self.settings.cache_backend,
            Time(at)
        ];
        self.insert_mapping.execute(mapping)?;
        self.stored += 1;
        Ok(recorded)
    }

    fn insert_message(
        &mut self,
        message: &NewMessage,
        recorded: &Recorded,
    ) -> rusqlite::Result<()> {
        let inserted = self.insert_message.execute(params![
            Id(recorded.id.0),
            Id(recorded.conversation.0),
            message.role.as_str(),
            message.content.as_str(),
            message.hash.to_hex(),
            message.tokens,
            recorded.sequence,
            message.metadata.as_ref().map(|metadata| metadata.as_str()),
            Time(message.sent_at),
            Time(self.at),
            recorded.external_id.as_deref(),
        ]);
        // The id is the key, and an external id was looked up: what else is unique is the place in the conversation.
        inserted.map(drop).map_err(|cause| match is_taken(&cause) {
            true => carry(miscounted(NAME, &message.guest)),
            false => cause,
        })
    }

    fn insert_vector(
        &mut self,
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
                self.insert_vector.execute(row)?;
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

    /// The conversation of a guest of this batch; `None` before its first message.
    pub(super) fn conversation(&self, guest: &GuestId) -> Option<ConversationId> {
        let place = (*self.by_guest.get(guest)?)?;
        self.chats.get(place).map(|chat| chat.id)
    }

    /// Reads the guest's chat, if it has one.
    fn look(&mut self, guest: &GuestId) -> rusqlite::Result<()> {
        if self.by_guest.contains_key(guest) {
            return Ok(());
        }
        let found = chat_row::load(self.tx, guest, self.at)?;
        let place = found.is_some().then_some(self.chats.len());
        self.chats.extend(found);
        self.by_guest.insert(guest.clone(), place);
        Ok(())
    }

    /// The place of the guest's chat among `chats`; one that there is not begins now.
    fn chat(&mut self, guest: &GuestId) -> usize {
        if let Some(Some(place)) = self.by_guest.get(guest) {
            return *place;
        }
        let place = self.chats.len();
        let begun = OpenChat::begin(guest, ConversationId(Uuid::now_v7()));
        self.chats.push(begun);
        self.by_guest.insert(guest.clone(), Some(place));
        place
    }

    /// Writes each chat's row and its owner's usage, and completes the outcomes with who was created.
    fn finish(&mut self, outcomes: &mut [Outcome]) -> rusqlite::Result<()> {
        for chat in &self.chats {
            let Some((group, place)) = chat.first else {
                continue;
            };
            chat_row::write(self.tx, chat, self.at, self.settings.retention)?;
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
}
