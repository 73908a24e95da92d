//! Embeddings computed after their message was stored.

use super::error::Attempt;
use super::rows::{count, get, id, limit as rows_limit, moment, text, without_nul};
use super::session::{BeginMode, EndMode, statement};
use super::{PostgresDatabase, first_count, sql};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{Content, ConversationId, MessageId, ModelId, Timestamp};
use guestbook_storage::database::{Unembedded, VectorOutcome, VectorUpdate, Vectors};
use std::collections::HashMap;
use tokio_postgres::Row;

#[async_trait]
impl Vectors for PostgresDatabase {
    async fn vectors_pending(
        &self,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Unembedded>> {
        let (after, limit) = (cursor(after), rows_limit(limit));
        let statements = [statement!(sql::VECTORS_PENDING; after => TEXT, limit => INT8)];
        let found = self.read("vectors_pending", &statements).await?;
        let pending: Attempt<_> = found[0].iter().map(unembedded).collect();
        pending.map_err(|fault| fault.into_error("vectors_pending"))
    }

    async fn vectors_missing(
        &self,
        model: &ModelId,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Unembedded>> {
        let (after, limit, model) = (cursor(after), rows_limit(limit), model.as_str());
        let statements =
            [statement!(sql::VECTORS_MISSING; after => TEXT, limit => INT8, model => TEXT)];
        let found = self
            .read_as("vectors_missing", BeginMode::LongRead, &statements)
            .await?;
        let missing: Attempt<_> = found[0].iter().map(unembedded).collect();
        missing.map_err(|fault| fault.into_error("vectors_missing"))
    }

    async fn vectors_missing_count(&self, model: &ModelId) -> Result<u64> {
        let model = model.as_str();
        let statements = [statement!(sql::VECTORS_MISSING_COUNT; model => TEXT)];
        let found = self
            .read_as("vectors_missing_count", BeginMode::LongRead, &statements)
            .await?;
        first_count(&found[0]).map_err(|fault| fault.into_error("vectors_missing_count"))
    }

    async fn vectors_update(
        &self,
        model: &ModelId,
        updates: Vec<VectorUpdate>,
        at: Timestamp,
    ) -> Result<()> {
        let updated = match self.update(model, &updates, at).await {
            Err(fault) if fault.is_undone() => self.update(model, &updates, at).await,
            other => other,
        };
        updated.map_err(|fault| fault.into_error("vectors_update"))
    }
}

/// Embedding outcomes as columns.
#[derive(Debug, Default)]
struct VectorUpdateColumns {
    embedded: Vec<String>,
    conversations: Vec<String>,
    bytes: Vec<Vec<u8>>,
    noted: Vec<String>,
    states: Vec<&'static str>,
    attempts: Vec<i64>,
    causes: Vec<String>,
    /// Messages in which the model found nothing: a vector of another model is useless.
    nothing: Vec<String>,
}

impl VectorUpdateColumns {
    fn add(&mut self, update: &VectorUpdate, conversation: String) {
        let id = update.id.to_string();
        let (state, cause) = match &update.outcome {
            VectorOutcome::Vector(vector) => {
                self.embedded.push(id);
                self.conversations.push(conversation);
                self.bytes.push(vector.to_bytes());
                return;
            }
            VectorOutcome::Nothing => ("none", ""),
            VectorOutcome::Retry(cause) => ("pending", cause.as_str()),
            VectorOutcome::Failed(cause) => ("failed", cause.as_str()),
        };
        if matches!(update.outcome, VectorOutcome::Nothing) {
            self.nothing.push(id.clone());
        }
        self.noted.push(id);
        self.states.push(state);
        self.attempts.push(i64::from(update.attempts));
        self.causes.push(without_nul(cause));
    }
}

impl PostgresDatabase {
    async fn update(
        &self,
        model: &ModelId,
        updates: &[VectorUpdate],
        at: Timestamp,
    ) -> Attempt<()> {
        let (model, at) = (model.as_str(), moment(at));
        let ids: Vec<String> = updates.iter().map(|update| update.id.to_string()).collect();
        let mut session = self.session().await?;
        let wanted = [statement!(sql::VECTORS_WANTED; ids => TEXT_ARRAY, model => TEXT)];
        let rows = session
            .transact(BeginMode::Write, &wanted, EndMode::Open)
            .await?;
        let mut conversations: HashMap<&str, &str> = HashMap::new();
        for row in &rows[0] {
            conversations.insert(text(row, 0)?, text(row, 1)?);
        }
        // Of two outcomes for one message the first vector wins, else the last outcome.
        let mut last: HashMap<&str, &VectorUpdate> = HashMap::new();
        for (id, update) in ids.iter().zip(updates) {
            let kept = last.get(id.as_str());
            if !kept.is_some_and(|kept| matches!(kept.outcome, VectorOutcome::Vector(_))) {
                last.insert(id, update);
            }
        }
        let mut columns = VectorUpdateColumns::default();
        for id in &ids {
            // The others were deleted meanwhile, or have a vector of this model, which is final.
            if let (Some(conversation), Some(update)) =
                (conversations.get(id.as_str()), last.remove(id.as_str()))
            {
                columns.add(update, (*conversation).to_owned());
            }
        }
        let statements = [
            statement!(sql::VECTORS_PUT; columns.embedded => TEXT_ARRAY, columns.conversations => TEXT_ARRAY,
                columns.bytes => BYTEA_ARRAY, model => TEXT, at => TIMESTAMPTZ),
            statement!(sql::NOTES_DELETE; columns.embedded => TEXT_ARRAY),
            statement!(sql::VECTORS_DELETE; columns.nothing => TEXT_ARRAY),
            statement!(sql::NOTES_PUT; columns.noted => TEXT_ARRAY, columns.states => TEXT_ARRAY,
                columns.attempts => INT8_ARRAY, columns.causes => TEXT_ARRAY, model => TEXT, at => TIMESTAMPTZ),
        ];
        session.go_on(&statements, EndMode::Commit).await?;
        Ok(())
    }
}

fn unembedded(row: &Row) -> Attempt<Unembedded> {
    let attempts = count(row, 3)?;
    Ok(Unembedded {
        id: MessageId(id(row, 0)?),
        conversation: ConversationId(id(row, 1)?),
        content: Content::from_stored(get(row, 2)?),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
    })
}

/// The exclusive lower bound: the empty text is below every id.
fn cursor(after: Option<MessageId>) -> String {
    after.map(|id| id.to_string()).unwrap_or_default()
}
