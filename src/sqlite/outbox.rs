//! The outbox, and the hourly counters that its transactions carry.

use super::rows::{Id, Time};
use super::{SqliteDatabase, rows, sql};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, GuestId, Timestamp};
use guestbook_storage::database::{
    CounterDeltas, ListRow, Outbox, OutboxEntry, OwnerTime, SyncedRange,
};
use rusqlite::types::Type;
use rusqlite::{Error, OptionalExtension, Row, Transaction, params};
use uuid::Uuid;

#[async_trait]
impl Outbox for SqliteDatabase {
    fn epoch(&self) -> Uuid {
        self.epoch
    }

    async fn outbox_entries(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>> {
        self.read("outbox_entries", move |tx| {
            let mut removals = tx.prepare_cached(sql::REMOVALS)?;
            let gone = removals.query_map([limit], |row| guest(row, 0).map(OutboxEntry::Gone))?;
            let mut outbox_entries = gone.collect::<rusqlite::Result<Vec<_>>>()?;
            let mut behind = tx.prepare_cached(sql::OUTBOX_ENTRIES)?;
            let left = limit.saturating_sub(outbox_entries.len());
            for row in behind.query_map(params![cursor(after), Time(now), left], list_row)? {
                outbox_entries.push(OutboxEntry::Behind(row?));
            }
            Ok(outbox_entries)
        })
        .await
    }

    async fn list_row(&self, guest: &GuestId, now: Timestamp) -> Result<Option<ListRow>> {
        let guest = guest.clone();
        self.read("list_row", move |tx| {
            let mut found = tx.prepare_cached(sql::LIST_ROW)?;
            found
                .query_row(params![guest.as_str(), Time(now)], list_row)
                .optional()
        })
        .await
    }

    async fn list_rows(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ListRow>> {
        self.read("list_rows", move |tx| {
            let mut found = tx.prepare_cached(sql::LIST_ROWS)?;
            let rows = found.query_map(params![cursor(after), Time(now), limit], list_row)?;
            rows.collect()
        })
        .await
    }

    async fn mark_synced(
        &self,
        synced_ranges: Vec<SyncedRange>,
        deltas: CounterDeltas,
        at: Timestamp,
    ) -> Result<()> {
        self.write("mark_synced", move |tx, _| {
            write_sync_marks(tx, &synced_ranges, &deltas.owners, at)?;
            if deltas.is_empty() {
                Ok(())
            } else {
                count(tx, at, 0, 0, &deltas)
            }
        })
        .await
    }

    async fn removals_done(&self, guests: Vec<GuestId>) -> Result<()> {
        self.write("removals_settled", move |tx, _| {
            let mut remove = tx.prepare_cached(sql::REMOVAL_DONE)?;
            guests
                .iter()
                .try_for_each(|guest| remove.execute([guest.as_str()]).map(drop))
        })
        .await
    }

    async fn lapse(&self, now: Timestamp, limit: usize) -> Result<usize> {
        let due = self.read("lapse", move |tx| {
            let mut expired = tx.prepare_cached(sql::LISTS_EXPIRED)?;
            let ids = expired.query_map(params![Time(now), limit], |row| row.get::<_, Id>(0))?;
            ids.collect::<rusqlite::Result<Vec<_>>>()
        });
        if due.await?.is_empty() {
            return Ok(0); // nothing to do is the common case, and must not cost a commit
        }
        self.write("lapse", move |tx, _| {
            let mut expired = tx.prepare_cached(sql::LISTS_EXPIRED)?;
            let ids = expired.query_map(params![Time(now), limit], |row| row.get::<_, Id>(0))?;
            let ids = ids.collect::<rusqlite::Result<Vec<_>>>()?;
            for id in &ids {
                tx.prepare_cached(sql::LIST_LAPSE)?.execute([id])?;
                tx.prepare_cached(sql::MAPPINGS_UNSYNC)?
                    .execute(params![id, i64::MAX])?;
            }
            Ok(ids.len())
        })
        .await
    }

    async fn lists_incarnation(&self) -> Result<Option<Uuid>> {
        self.read("lists_incarnation", |tx| {
            let stored: Option<String> = tx
                .query_row(sql::META_GET, ["lists_incarnation"], |row| row.get(0))
                .optional()?;
            Ok(stored.and_then(|text| Uuid::parse_str(&text).ok()))
        })
        .await
    }

    async fn set_lists_incarnation(&self, incarnation: Uuid) -> Result<()> {
        self.write("set_lists_incarnation", move |tx, _| {
            tx.execute(
                sql::META_PUT,
                params!["lists_incarnation", incarnation.to_string()],
            )?;
            Ok(())
        })
        .await
    }
}

/// Marks durable list writes, and adds to the owners' response times.
pub(super) fn write_sync_marks(
    tx: &Transaction<'_>,
    synced_ranges: &[SyncedRange],
    owners: &[OwnerTime],
    at: Timestamp,
) -> rusqlite::Result<()> {
    for done in synced_ranges {
        mark_list_synced(tx, done, at)?;
    }
    for time in owners {
        let row = params![time.owner.as_str(), time.requests, time.total_ms];
        tx.prepare_cached(sql::USAGE_TIME)?.execute(row)?;
    }
    Ok(())
}

/// A conversation that expired, was migrated or erased meanwhile takes no mark, nor does a message that fell out of the window:
/// `is_synced` must never claim what the list does not have. A list has no holes, so every earlier message is in it as well,
/// also if its own mark was lost in a crash.
fn mark_list_synced(
    tx: &Transaction<'_>,
    done: &SyncedRange,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let id = Id(done.conversation.0);
    let read = |row: &Row<'_>| Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?));
    let mut find = tx.prepare_cached(sql::LIST_SYNCED)?;
    let Some((from, synced)) = find.query_row(params![id, done.next], read).optional()? else {
        return Ok(());
    };
    let first = done.next.saturating_sub(done.messages.len() as u64);
    let unnoted = from.max(synced);
    if unnoted < first {
        let row = params![id, unnoted, first, Time(at)];
        tx.prepare_cached(sql::MAPPINGS_MARK_SYNCED)?.execute(row)?;
    }
    let outside = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
    for message in done.messages.iter().skip(outside) {
        let row = params![Id(message.0), Time(at)];
        tx.prepare_cached(sql::MAPPING_MARK_SYNCED)?.execute(row)?;
    }
    tx.prepare_cached(sql::LIST_MARK_SYNCED)?
        .execute(params![id, done.next])?;
    Ok(())
}

/// Adds to the hour's row: a change of `entries` messages, and `misses` stored messages beside the counter deltas.
pub(super) fn count(
    tx: &Transaction<'_>,
    at: Timestamp,
    entries: i64,
    misses: i64,
    deltas: &CounterDeltas,
) -> rusqlite::Result<()> {
    let misses = misses + i64::try_from(deltas.misses).unwrap_or(i64::MAX);
    let hour = Time(at.hour());
    let row = params![
        Id(Uuid::now_v7()),
        hour,
        entries,
        deltas.hits,
        misses,
        deltas.timed,
        deltas.timed_ms
    ];
    tx.prepare_cached(sql::METRICS_ADD)?.execute(row)?;
    if entries != 0 {
        tx.prepare_cached(sql::METRICS_CARRY)?
            .execute(params![hour, entries])?;
    }
    Ok(())
}

fn list_row(row: &Row<'_>) -> rusqlite::Result<ListRow> {
    let window = rows::window(row, 2)?;
    Ok(ListRow {
        guest: guest(row, 0)?,
        conversation: ConversationId(row.get::<_, Id>(1)?.0),
        window: window.ok_or(Error::InvalidColumnType(
            3,
            "list_expires_at".into(),
            Type::Null,
        ))?,
        next: row.get(4)?,
        synced: row.get(5)?,
    })
}

pub(super) fn guest(row: &Row<'_>, at: usize) -> rusqlite::Result<GuestId> {
    let parsed = GuestId::parse_stored(row.get_ref(at)?.as_str()?);
    parsed.map_err(|fault| Error::FromSqlConversionFailure(at, Type::Text, fault.into()))
}

/// The exclusive lower bound: the empty text is below every id.
pub(super) fn cursor(after: Option<ConversationId>) -> String {
    after.map(|id| id.to_string()).unwrap_or_default()
}
