//! Embeddings computed after their message was stored.

use super::rows::{Id, Time};
use super::{SqliteDatabase, sql};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{Content, ConversationId, MessageId, ModelId, Timestamp};
use guestbook_storage::database::{Unembedded, VectorOutcome, VectorUpdate, Vectors};
use rusqlite::{OptionalExtension, Row, Transaction, params};

#[async_trait]
impl Vectors for SqliteDatabase {
    async fn vectors_pending(
        &self,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Unembedded>> {
        self.read("vectors_pending", move |tx| {
            let mut select = tx.prepare_cached(sql::VECTORS_PENDING)?;
            select
                .query_map(params![cursor(after), limit], unembedded)?
                .collect()
        })
        .await
    }

    async fn vectors_missing(
        &self,
        model: &ModelId,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Unembedded>> {
        let model = model.clone();
        self.read_long("vectors_missing", move |tx| {
            let mut select = tx.prepare_cached(sql::VECTORS_MISSING)?;
            let found =
                select.query_map(params![cursor(after), limit, model.as_str()], unembedded)?;
            found.collect()
        })
        .await
    }

    async fn vectors_missing_count(&self, model: &ModelId) -> Result<u64> {
        let model = model.clone();
        self.read_long("vectors_missing_count", move |tx| {
            tx.query_row(sql::VECTORS_MISSING_COUNT, [model.as_str()], |row| {
                row.get(0)
            })
        })
        .await
    }

    async fn vectors_update(
        &self,
        model: &ModelId,
        updates: Vec<VectorUpdate>,
        at: Timestamp,
    ) -> Result<()> {
        let model = model.clone();
        self.write("vectors_update", move |tx, _| {
            updates
                .iter()
                .try_for_each(|update| apply(tx, &model, update, at))
        })
        .await
    }
}

fn apply(
    tx: &Transaction<'_>,
    model: &ModelId,
    update: &VectorUpdate,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let id = Id(update.id.0);
    let mut find = tx.prepare_cached(sql::MESSAGE_FOR_VECTOR)?;
    let read = |row: &Row<'_>| Ok((row.get::<_, Id>(0)?, row.get(1)?));
    let found = find
        .query_row(params![id, model.as_str()], read)
        .optional()?;
    let Some((conversation, false)) = found else {
        return Ok(()); // deleted meanwhile, or a vector of this model is there: that one is final
    };
    let (state, cause) = match &update.outcome {
        VectorOutcome::Vector(vector) => {
            let bytes = vector.to_bytes();
            let row = params![
                id,
                conversation,
                bytes,
                model.as_str(),
                bytes.len(),
                Time(at)
            ];
            tx.prepare_cached(sql::VECTOR_PUT)?.execute(row)?;
            tx.prepare_cached(sql::NOTE_DELETE)?.execute([&id])?;
            return Ok(());
        }
        VectorOutcome::Nothing => ("none", ""),
        VectorOutcome::Retry(cause) => ("pending", cause.as_str()),
        VectorOutcome::Failed(cause) => ("failed", cause.as_str()),
    };
    if matches!(update.outcome, VectorOutcome::Nothing) {
        // A vector of another model is useless.
        tx.prepare_cached(sql::VECTOR_DELETE)?.execute([&id])?;
    }
    let note = params![id, state, model.as_str(), update.attempts, cause, Time(at)];
    tx.prepare_cached(sql::NOTE_PUT)?.execute(note)?;
    Ok(())
}

fn unembedded(row: &Row<'_>) -> rusqlite::Result<Unembedded> {
    Ok(Unembedded {
        id: MessageId(row.get::<_, Id>(0)?.0),
        conversation: ConversationId(row.get::<_, Id>(1)?.0),
        content: Content::from_stored(row.get_ref(2)?.as_str()?),
        attempts: row.get(3)?,
    })
}

/// The exclusive lower bound: the empty text is below every id.
fn cursor(after: Option<MessageId>) -> String {
    after.map(|id| id.to_string()).unwrap_or_default()
}
