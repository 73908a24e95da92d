//! All vectors.

use super::error::Attempt;
use super::rows::{get, id, limit as rows_limit, moment, time};
use super::session::{BeginMode, statement};
use super::{PostgresDatabase, first_count, rows, sql};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, MessageId, ModelId, Platform, Role, Timestamp, Vector};
use guestbook_storage::database::{
    Candidate, CandidateRequest, IndexedVector, IndexedVectorPage, VectorSource,
};
use tokio_postgres::Row;

#[async_trait]
impl VectorSource for PostgresDatabase {
    fn is_shared(&self) -> bool {
        true
    }

    async fn indexable(
        &self,
        model: &ModelId,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<IndexedVectorPage> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let (most, model) = (rows_limit(limit), model.as_str());
        let statements = [statement!(sql::INDEXABLE; after => TEXT, most => INT8, model => TEXT)];
        let found = self
            .read_as("indexable", BeginMode::LongRead, &statements)
            .await?;
        let read = || -> Attempt<IndexedVectorPage> {
            let last = found[0].last().filter(|_| found[0].len() == limit);
            let next = last.map(|row| id(row, 0).map(MessageId)).transpose()?;
            let rows = found[0]
                .iter()
                .map(indexable)
                .collect::<Attempt<Vec<_>>>()?;
            Ok(IndexedVectorPage {
                rows: rows.into_iter().flatten().collect(),
                next,
            })
        };
        read().map_err(|fault| fault.into_error("indexable"))
    }

    async fn indexable_of(
        &self,
        model: &ModelId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<IndexedVector>> {
        let (ids, model) = (texts(&ids), model.as_str());
        let statements = [statement!(sql::INDEXABLE_OF; ids => TEXT_ARRAY, model => TEXT)];
        let found = self.read("indexable_of", &statements).await?;
        let rows: Attempt<Vec<_>> = found[0].iter().map(indexable).collect();
        let rows = rows.map_err(|fault| fault.into_error("indexable_of"))?;
        Ok(rows.into_iter().flatten().collect())
    }

    async fn embedded_since(
        &self,
        since: Timestamp,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, MessageId)>> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let (since, limit) = (moment(since), rows_limit(limit));
        let statements =
            [statement!(sql::EMBEDDED_SINCE; since => TIMESTAMPTZ, after => TEXT, limit => INT8)];
        let found = self.read("embedded_since", &statements).await?;
        let stored = |row: &Row| Ok((time(row, 0)?, MessageId(id(row, 1)?)));
        let stored: Attempt<_> = found[0].iter().map(stored).collect();
        stored.map_err(|fault| fault.into_error("embedded_since"))
    }

    async fn searchable(&self, model: &ModelId) -> Result<u64> {
        let model = model.as_str();
        let statements = [
            statement!(sql::ENTRIES),
            statement!(sql::NOTES_OF_NOTHING; model => TEXT),
        ];
        let found = self.read("searchable", &statements).await?;
        let read = || -> Attempt<u64> {
            Ok(first_count(&found[0])?.saturating_sub(first_count(&found[1])?))
        };
        read().map_err(|fault| fault.into_error("searchable"))
    }

    async fn candidates(
        &self,
        model: &ModelId,
        proposal: CandidateRequest,
        now: Timestamp,
    ) -> Result<Vec<Candidate>> {
        let (ids, model, now) = (texts(&proposal.ids), model.as_str(), moment(now));
        let platform = proposal.platform.map(Platform::as_str);
        let limit = rows_limit(proposal.limit);
        let statements = [
            statement!(sql::CANDIDATES; ids => TEXT_ARRAY, model => TEXT,
            now => TIMESTAMPTZ, platform => TEXT, limit => INT8),
        ];
        let found = self.read("candidates", &statements).await?;
        let read: Attempt<Vec<_>> = found[0].iter().map(candidate).collect();
        let read = read.map_err(|fault| fault.into_error("candidates"))?;
        Ok(read.into_iter().flatten().collect())
    }
}

fn texts(ids: &[MessageId]) -> Vec<String> {
    ids.iter().map(MessageId::to_string).collect()
}

/// `None` without a vector of the model, with a damaged one, or without a message: verify reports it.
fn indexable(row: &Row) -> Attempt<Option<IndexedVector>> {
    let (vector, role): (_, Option<&str>) = (vector(row, 1)?, get(row, 2)?);
    let (Some(vector), Some(Ok(role))) = (vector, role.map(Role::parse)) else {
        return Ok(None);
    };
    Ok(Some(IndexedVector {
        id: MessageId(id(row, 0)?),
        role,
        sent_at: time(row, 3)?,
        vector,
    }))
}

fn vector(row: &Row, at: usize) -> Attempt<Option<Vector>> {
    let bytes: Option<&[u8]> = get(row, at)?;
    Ok(bytes.and_then(|bytes| Vector::from_bytes(bytes).ok()))
}

fn candidate(row: &Row) -> Attempt<Option<Candidate>> {
    let Some(vector) = vector(row, 9)? else {
        return Ok(None);
    };
    Ok(Some(Candidate {
        conversation: ConversationId(id(row, 8)?),
        message: rows::message(row)?,
        vector,
    }))
}
