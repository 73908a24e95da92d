//! The pending embeddings.

use super::MemoryDatabase;
use super::tables::{EmbeddingNote, MemoryTables, MessageRow, StoredVector};
use crate::database::{Unembedded, VectorOutcome, VectorUpdate, Vectors};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{EmbeddingState, MessageId, ModelId, Timestamp};
use std::ops::Bound;

#[async_trait]
impl Vectors for MemoryDatabase {
    async fn vectors_pending(
        &self,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Unembedded>> {
        self.run("vectors_pending", |tables| {
            let pending = |row: &&MessageRow| row.noted() == Some(EmbeddingState::Pending);
            let rows = tables.rows_after(after).filter(pending);
            rows.take(limit).map(MessageRow::unembedded).collect()
        })
    }

    async fn vectors_missing(
        &self,
        model: &ModelId,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Unembedded>> {
        self.run("vectors_missing", |tables| {
            let rows = tables.rows_after(after).filter(|row| row.lacks(model));
            rows.take(limit).map(MessageRow::unembedded).collect()
        })
    }

    async fn vectors_missing_count(&self, model: &ModelId) -> Result<u64> {
        self.run("vectors_missing_count", |tables| {
            let rows = tables.rows_after(None).filter(|row| row.lacks(model));
            rows.count() as u64
        })
    }

    async fn vectors_update(
        &self,
        model: &ModelId,
        updates: Vec<VectorUpdate>,
        _at: Timestamp,
    ) -> Result<()> {
        self.run("vectors_update", |tables| {
            for update in updates {
                if let Some(row) = tables.messages.get_mut(&update.id) {
                    row.update(model, update);
                }
            }
        })
    }
}

impl MemoryTables {
    pub(super) fn rows_after(&self, after: Option<MessageId>) -> impl Iterator<Item = &MessageRow> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.messages.range((start, Bound::Unbounded));
        range.map(|(_, row)| row)
    }
}

impl MessageRow {
    fn noted(&self) -> Option<EmbeddingState> {
        self.note.as_ref().map(|note| note.state)
    }

    fn lacks(&self, model: &ModelId) -> bool {
        let nothing =
            |note: &EmbeddingNote| note.state == EmbeddingState::Nothing && note.model == *model;
        !self.has_vector_of(model) && !self.note.as_ref().is_some_and(nothing)
    }

    fn unembedded(&self) -> Unembedded {
        Unembedded {
            id: self.message.id,
            conversation: self.conversation,
            content: self.message.content.clone(),
            attempts: self.note.as_ref().map_or(0, |note| note.attempts),
        }
    }

    /// Stores an outcome. A vector of the current model is final: later outcomes are late.
    fn update(&mut self, model: &ModelId, update: VectorUpdate) {
        if self.has_vector_of(model) {
            return;
        }
        let (state, cause) = match update.outcome {
            VectorOutcome::Vector(vector) => {
                let model = model.clone();
                self.vector = Some(StoredVector { model, vector });
                self.note = None;
                return;
            }
            VectorOutcome::Nothing => {
                // A vector of an older model cannot be compared any more.
                self.vector = None;
                (EmbeddingState::Nothing, String::new())
            }
            VectorOutcome::Retry(cause) => (EmbeddingState::Pending, cause),
            VectorOutcome::Failed(cause) => (EmbeddingState::Failed, cause),
        };
        self.note = Some(EmbeddingNote {
            model: model.clone(),
            state,
            attempts: update.attempts,
            cause,
        });
    }
}
