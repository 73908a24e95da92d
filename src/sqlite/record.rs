//! Steps 2-7 of a batch of messages, in one transaction.
//!
//! Each guest's conversation is read once per batch and written once at its end; between, only messages, vectors and mappings are
//! inserted. A message costs three inserts, plus its guest's share of three more statements.

use super::error::{carry, is_taken};
use super::rows::{Id, Time};
use super::{NAME, SqliteDatabase, chat_row, outbox, sql, stored_ids, text};
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, MessageId, NewMessage, Role, Timestamp};
use guestbook_storage::conversation_state::{ConversationState, Conversations, miscounted};
use guestbook_storage::database::{Batch, Embedding, Entry, Outcome, Recorded, TableSettings};
use guestbook_storage::plan::plan;
use rusqlite::{CachedStatement, Transaction, params};
use std::sync::Arc;
use uuid::Uuid;

impl SqliteDatabase {
    pub(super) async fn record_batch(&self, batch: Arc<Batch>) -> Result<Vec<Outcome>> {
        self.write("record", move |tx, settings| {
            outbox::write_sync_marks(tx, &batch.synced_ranges, &batch.deltas.owners, batch.at)?;
            let conversations = read_conversations(tx, &batch)?;
            let stored = stored_ids::read(tx, &batch, &conversations)?;
            // After the erasures, because row numbers of removed messages may be reused.
            let last = settings.text_index.then(|| text::last(tx)).transpose()?;
            let mut plan = plan(&batch, settings, conversations, stored)
                .map_err(|wrong| rusqlite::Error::ToSqlConversionFailure(wrong.into()))?;
            let mut recorder = Recorder::new(tx, settings, batch.at)?;
            for (entry, recorded) in plan.new_messages() {
                recorder.insert(entry, recorded)?;
            }
            plan.note_usage(|chat| recorder.write(chat).map(Some))?;
            let count = plan.new_count as i64;
            if let Some(last) = last.filter(|_| count > 0) {
                text::take_in(tx, last)?;
            }
            if count > 0 || !batch.deltas.is_empty() {
                outbox::count(tx, batch.at, count, count, &batch.deltas)?;
            }
            Ok(plan.outcomes)
        })
        .await
    }
}

/// The conversations of the batch's guests. First of all, because this erases those that retention has ended: none of their
/// messages may be found again, nor conflict with a new one.
fn read_conversations(tx: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<Conversations> {
    let mut conversations = Conversations::default();
    for Entry { message, .. } in batch.entries() {
        let load = || chat_row::load(tx, &message.guest, batch.at);
        let chat = conversations.get_or_read(&message.guest, load)?;
        if let (Some(chat), Role::User) = (chat, message.role) {
            chat_row::look_for_user_message(tx, chat)?;
        }
    }
    Ok(conversations)
}

struct Recorder<'a> {
    tx: &'a Transaction<'a>,
    settings: &'a TableSettings,
    at: Timestamp,
    /// Prepared once: looking a statement up costs a few percent of running it.
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
            insert_message: tx.prepare_cached(sql::MESSAGE_INSERT)?,
            insert_vector: tx.prepare_cached(sql::VECTOR_PUT)?,
            insert_mapping: tx.prepare_cached(sql::MAPPING_INSERT)?,
        })
    }

    fn insert(&mut self, entry: &Entry, recorded: &Recorded) -> rusqlite::Result<()> {
        let (message, id) = (&entry.message, recorded.id);
        self.insert_message(message, recorded)?;
        self.insert_vector(id, recorded.conversation, &entry.embedding)?;
        let (owner, cache_backend) = (message.guest.as_str(), self.settings.cache_backend);
        let mapping = params![Id(id.0), owner, cache_backend, Time(self.at)];
        self.insert_mapping.execute(mapping).map(drop)
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
        // The id is the primary key, and an external id was looked up: the sequence is the only other unique column.
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
            return Ok(());
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

    /// Writes a conversation's row and its owner's usage; returns the owner's number of requests.
    fn write(&self, chat: &ConversationState) -> rusqlite::Result<u64> {
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
        let mut count = self.tx.prepare_cached(sql::USAGE_COUNT)?;
        count.query_row(row, |row| row.get(0))
    }
}
