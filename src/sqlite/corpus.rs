//! All vectors.

use super::rows::{Id, Time};
use super::{SqliteDatabase, rows, sql};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, MessageId, ModelId, Role, Timestamp, Vector};
use guestbook_storage::database::{
    Candidate, CandidateRequest, IndexedVector, IndexedVectorPage, VectorSource,
};
use rusqlite::{OptionalExtension, Row, Transaction, params};

/// The cursor after a page: fewer rows than the limit are the last ones.
fn page_of(
    tx: &Transaction<'_>,
    after: &str,
    limit: usize,
    model: &str,
) -> rusqlite::Result<IndexedVectorPage> {
    let mut select = tx.prepare_cached(sql::INDEXABLE)?;
    let mut found = select.query(params![after, limit, model])?;
    let (mut page, mut looked_at) = (IndexedVectorPage::default(), 0);
    while let Some(row) = found.next()? {
        looked_at += 1;
        if looked_at == limit {
            page.next = Some(MessageId(row.get::<_, Id>(0)?.0));
        }
        page.rows.extend(indexable(row)?);
    }
    Ok(page)
}

#[async_trait]
impl VectorSource for SqliteDatabase {
    async fn indexable(
        &self,
        model: &ModelId,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<IndexedVectorPage> {
        let model = model.clone();
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read_long("indexable", move |tx| {
            page_of(tx, &after, limit, model.as_str())
        })
        .await
    }

    async fn indexable_of(
        &self,
        model: &ModelId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<IndexedVector>> {
        let model = model.clone();
        self.read("indexable_of", move |tx| {
            let mut select = tx.prepare_cached(sql::INDEXABLE_OF)?;
            let mut all = Vec::with_capacity(ids.len());
            for id in ids {
                let found = select.query_row(params![Id(id.0), model.as_str()], indexable);
                all.extend(found.optional()?.flatten());
            }
            Ok(all)
        })
        .await
    }

    async fn searchable(&self, model: &ModelId) -> Result<u64> {
        let model = model.clone();
        self.read_long("searchable", move |tx| {
            let all: u64 = tx.query_row(sql::ENTRIES, [], |row| row.get(0))?;
            let nothing: u64 =
                tx.query_row(sql::NOTES_OF_NOTHING, [model.as_str()], |row| row.get(0))?;
            Ok(all.saturating_sub(nothing))
        })
        .await
    }

    async fn candidates(
        &self,
        model: &ModelId,
        proposal: CandidateRequest,
        now: Timestamp,
    ) -> Result<Vec<Candidate>> {
        let model = model.clone();
        self.read("candidates", move |tx| {
            let mut select = tx.prepare_cached(sql::CANDIDATE)?;
            let mut found = Vec::new();
            for id in &proposal.ids {
                if found.len() == proposal.limit {
                    break;
                }
                let key = params![Id(id.0), model.as_str(), Time(now)];
                let read = |row: &Row<'_>| candidate(row, &proposal);
                found.extend(select.query_row(key, read).optional()?.flatten());
            }
            Ok(found)
        })
        .await
    }
}

/// `None` without a vector of the model, or with a damaged one, which verify reports.
fn indexable(row: &Row<'_>) -> rusqlite::Result<Option<IndexedVector>> {
    let Some(vector) = vector(row, 1)? else {
        return Ok(None);
    };
    Ok(Some(IndexedVector {
        id: MessageId(row.get::<_, Id>(0)?.0),
        role: Role::parse(row.get_ref(2)?.as_str()?).map_err(|_| rows::unreadable(2, "role"))?,
        sent_at: row.get::<_, Time>(3)?.0,
        vector,
    }))
}

fn vector(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Vector>> {
    let bytes = row.get_ref(at)?.as_blob_or_null()?;
    Ok(bytes.and_then(|bytes| Vector::from_bytes(bytes).ok()))
}

fn candidate(row: &Row<'_>, proposal: &CandidateRequest) -> rusqlite::Result<Option<Candidate>> {
    let platform = row.get_ref(9)?.as_str()?;
    let is_wanted = proposal
        .platform
        .is_none_or(|wanted| wanted.as_str() == platform);
    let (true, Some(vector)) = (is_wanted, vector(row, 10)?) else {
        return Ok(None);
    };
    Ok(Some(Candidate {
        conversation: ConversationId(row.get::<_, Id>(8)?.0),
        message: rows::message(row)?,
        vector,
    }))
}
