//! All vectors.

use super::MemoryDatabase;
use super::tables::{MemoryTables, MessageRow, StoredVector};
use crate::database::{
    Candidate, CandidateRequest, IndexedVector, IndexedVectorPage, VectorSource,
};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{EmbeddingState, MessageId, ModelId, Timestamp};

#[async_trait]
impl VectorSource for MemoryDatabase {
    async fn indexable(
        &self,
        model: &ModelId,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<IndexedVectorPage> {
        self.run("indexable", |tables| {
            let looked_at: Vec<_> = tables.rows_after(after).take(limit).collect();
            let is_last = looked_at.len() < limit;
            IndexedVectorPage {
                rows: looked_at
                    .iter()
                    .filter_map(|row| row.indexable(model))
                    .collect(),
                next: looked_at
                    .last()
                    .map(|row| row.message.id)
                    .filter(|_| !is_last),
            }
        })
    }

    async fn indexable_of(
        &self,
        model: &ModelId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<IndexedVector>> {
        self.run("indexable_of", |tables| {
            let rows = ids.iter().filter_map(|id| tables.messages.get(id));
            rows.filter_map(|row| row.indexable(model)).collect()
        })
    }

    async fn searchable(&self, model: &ModelId) -> Result<u64> {
        self.run("searchable", |tables| {
            let nothing = |row: &&MessageRow| {
                row.note.as_ref().is_some_and(|note| {
                    note.state == EmbeddingState::Nothing && note.model == *model
                })
            };
            let rows = tables.messages.values();
            rows.filter(|row| !nothing(row)).count() as u64
        })
    }

    async fn candidates(
        &self,
        model: &ModelId,
        proposal: CandidateRequest,
        now: Timestamp,
    ) -> Result<Vec<Candidate>> {
        self.run("candidates", |tables| {
            let found = proposal.ids.iter().filter_map(|id| {
                let candidate = tables.candidate(*id, model, now)?;
                let platform = tables.conversations[&candidate.conversation]
                    .conversation
                    .platform;
                let is_wanted = proposal.platform.is_none_or(|wanted| wanted == platform);
                is_wanted.then_some(candidate)
            });
            found.take(proposal.limit).collect()
        })
    }
}

impl MemoryTables {
    fn candidate(&self, id: MessageId, model: &ModelId, now: Timestamp) -> Option<Candidate> {
        let row = self.messages.get(&id)?;
        let chat = self.conversations.get(&row.conversation)?;
        let vector = row.vector_of(model)?;
        (!chat.is_ended(now)).then(|| Candidate {
            conversation: row.conversation,
            message: row.message.clone(),
            vector: vector.vector.clone(),
        })
    }
}

impl MessageRow {
    fn vector_of(&self, model: &ModelId) -> Option<&StoredVector> {
        self.vector.as_ref().filter(|vector| vector.model == *model)
    }

    fn indexable(&self, model: &ModelId) -> Option<IndexedVector> {
        Some(IndexedVector {
            id: self.message.id,
            role: self.message.role,
            sent_at: self.message.sent_at,
            vector: self.vector_of(model)?.vector.clone(),
        })
    }
}
