//! The outbox, and the hourly counters that its transactions carry.

use super::columns::DeferredCounters;
use super::error::{Attempt, PostgresFault};
use super::rows::{count, id, int, limit as rows_limit, moment, text, window};
use super::session::{Statement, statement};
use super::{PostgresDatabase, first_count, sql};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, GuestId, Timestamp};
use guestbook_storage::database::{CounterDeltas, ListRow, Outbox, OutboxEntry, SyncedRange};
use tokio_postgres::Row;
use uuid::Uuid;

const INCARNATION: &str = "lists_incarnation";

/// Sync marks as columns.
#[derive(Debug)]
pub(super) struct SyncMarkColumns {
    pub(super) conversations: Vec<String>,
    first: Vec<i64>,
    next: Vec<i64>,
    at: DateTime<Utc>,
}

impl SyncMarkColumns {
    pub(super) fn of(synced_ranges: &[SyncedRange], at: Timestamp) -> Self {
        let first = |done: &SyncedRange| int(done.next.saturating_sub(done.messages.len() as u64));
        Self {
            conversations: synced_ranges
                .iter()
                .map(|done| done.conversation.to_string())
                .collect(),
            first: synced_ranges.iter().map(first).collect(),
            next: synced_ranges.iter().map(|done| int(done.next)).collect(),
            at: moment(at),
        }
    }

    /// Appends the statements that write the marks. The rows of the conversations must be locked before.
    pub(super) fn push_statements<'a>(&'a self, statements: &mut Vec<Statement<'a>>) {
        if self.conversations.is_empty() {
            return;
        }
        statements.push(
            statement!(sql::MARK_SYNCED; self.conversations => TEXT_ARRAY, self.first => INT8_ARRAY,
            self.next => INT8_ARRAY, self.at => TIMESTAMPTZ),
        );
    }
}

#[async_trait]
impl Outbox for PostgresDatabase {
    fn epoch(&self) -> Uuid {
        self.0.epoch
    }

    async fn outbox_entries(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>> {
        let (after, now, rows) = (cursor(after), moment(now), rows_limit(limit));
        let statements = [
            statement!(sql::REMOVALS; rows => INT8),
            statement!(sql::OUTBOX_ENTRIES; after => TEXT, now => TIMESTAMPTZ, rows => INT8),
        ];
        let found = self.read("outbox_entries", &statements).await?;
        let gone = found[0]
            .iter()
            .map(|row| guest(row, 0).map(OutboxEntry::Gone));
        let behind = found[1]
            .iter()
            .map(|row| list_row(row).map(OutboxEntry::Behind));
        let outbox_entries: Attempt<_> = gone.chain(behind).take(limit).collect();
        outbox_entries.map_err(|fault| fault.into_error("outbox_entries"))
    }

    async fn list_row(&self, guest: &GuestId, now: Timestamp) -> Result<Option<ListRow>> {
        let (name, now) = (guest.as_str(), moment(now));
        let statements = [statement!(sql::LIST_ROW; name => TEXT, now => TIMESTAMPTZ)];
        let found = self.read("list_row", &statements).await?;
        let row = found[0].first().map(list_row).transpose();
        row.map_err(|fault| fault.into_error("list_row"))
    }

    async fn list_rows(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ListRow>> {
        let (after, now, limit) = (cursor(after), moment(now), rows_limit(limit));
        let statements =
            [statement!(sql::LIST_ROWS; after => TEXT, now => TIMESTAMPTZ, limit => INT8)];
        let found = self.read("list_rows", &statements).await?;
        let rows: Attempt<_> = found[0].iter().map(list_row).collect();
        rows.map_err(|fault| fault.into_error("list_rows"))
    }

    async fn mark_synced(
        &self,
        synced_ranges: Vec<SyncedRange>,
        deltas: CounterDeltas,
        at: Timestamp,
    ) -> Result<()> {
        let (marks, deferred) = (
            SyncMarkColumns::of(&synced_ranges, at),
            DeferredCounters::of(self, &deltas, at),
        );
        let mut statements = Vec::new();
        if !synced_ranges.is_empty() {
            statements.push(statement!(sql::SYNCED_LOCK; marks.conversations => TEXT_ARRAY));
        }
        marks.push_statements(&mut statements);
        deferred.add(&mut statements);
        self.write("mark_synced", &statements).await.map(drop)
    }

    async fn removals_done(&self, guests: Vec<GuestId>) -> Result<()> {
        let guests: Vec<&str> = guests.iter().map(GuestId::as_str).collect();
        let synced_ranges = [statement!(sql::REMOVALS_DONE; guests => TEXT_ARRAY)];
        self.write("removals_settled", &synced_ranges)
            .await
            .map(drop)
    }

    async fn lapse(&self, now: Timestamp, limit: usize) -> Result<usize> {
        let (now, limit) = (moment(now), rows_limit(limit));
        let due = [statement!(sql::LISTS_EXPIRED; now => TIMESTAMPTZ)];
        if self.read("lapse", &due).await?[0].is_empty() {
            return Ok(0); // nothing to do is the common case, and must lock nothing
        }
        let lapse = [statement!(sql::LISTS_LAPSE; now => TIMESTAMPTZ, limit => INT8)];
        let rows = self.write("lapse", &lapse).await?;
        let expired = first_count(&rows[0]).map_err(|fault| fault.into_error("lapse"))?;
        Ok(usize::try_from(expired).unwrap_or(usize::MAX))
    }

    async fn lists_incarnation(&self) -> Result<Option<Uuid>> {
        let statements = [statement!(sql::META_GET; INCARNATION => TEXT)];
        let rows = self.read("lists_incarnation", &statements).await?;
        let stored = rows[0].first().map(|row| text(row, 0)).transpose();
        let stored = stored.map_err(|fault| fault.into_error("lists_incarnation"))?;
        Ok(stored.and_then(|text| Uuid::parse_str(text).ok()))
    }

    async fn set_lists_incarnation(&self, incarnation: Uuid) -> Result<()> {
        let incarnation = incarnation.to_string();
        let put = [statement!(sql::META_PUT; INCARNATION => TEXT, incarnation => TEXT)];
        self.write("set_lists_incarnation", &put).await.map(drop)
    }
}

fn list_row(row: &Row) -> Attempt<ListRow> {
    let window = window(row, 2)?;
    Ok(ListRow {
        guest: guest(row, 0)?,
        conversation: ConversationId(id(row, 1)?),
        window: window.ok_or_else(|| PostgresFault::Row("a list without an expiry".into()))?,
        next: count(row, 4)?,
        synced: count(row, 5)?,
    })
}

pub(super) fn guest(row: &Row, at: usize) -> Attempt<GuestId> {
    let found = text(row, at)?;
    GuestId::parse_stored(found)
        .map_err(|fault| PostgresFault::Row(format!("the guest {found:?}: {fault}")))
}

/// The exclusive lower bound: the empty text is below every id.
pub(super) fn cursor(after: Option<ConversationId>) -> String {
    after.map(|id| id.to_string()).unwrap_or_default()
}
