//! Conversions between rows and domain types.

use super::error::{Attempt, PostgresFault};
use chrono::{DateTime, Utc};
use guestbook_core::{
    Content, Conversation, ConversationId, Message, MessageId, Metadata, OwnerId, Platform, Role,
    Timestamp, Usage, Window,
};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

/// A column of any type.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Attempt<T> {
    row.try_get(at).map_err(PostgresFault::Server)
}

pub(super) fn text(row: &Row, at: usize) -> Attempt<&str> {
    get(row, at)
}

pub(super) fn id(row: &Row, at: usize) -> Attempt<Uuid> {
    let found = text(row, at)?;
    Uuid::parse_str(found).map_err(|cause| PostgresFault::Row(format!("the id {found:?}: {cause}")))
}

/// A count, which is never negative unless it was edited by hand.
pub(super) fn count(row: &Row, at: usize) -> Attempt<u64> {
    let found: i64 = get(row, at)?;
    u64::try_from(found).map_err(|_| PostgresFault::Row(format!("a count of {found}")))
}

pub(super) fn time(row: &Row, at: usize) -> Attempt<Timestamp> {
    let found: DateTime<Utc> = get(row, at)?;
    Ok(Timestamp::from_ms(found.timestamp_millis()))
}

pub(super) fn time_or_none(row: &Row, at: usize) -> Attempt<Option<Timestamp>> {
    let found: Option<DateTime<Utc>> = get(row, at)?;
    Ok(found.map(|found| Timestamp::from_ms(found.timestamp_millis())))
}

/// A count as INT8.
pub(super) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A limit as INT8.
pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A timestamp as TIMESTAMPTZ.
pub(super) fn moment(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.ms()).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// An unchecked text, such as the cause of a failure, without NUL, which PostgreSQL cannot store.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The columns of `CONVERSATION…`, in their order.
pub(super) fn conversation(row: &Row) -> Attempt<Conversation> {
    Ok(Conversation {
        id: ConversationId(id(row, 0)?),
        owner: OwnerId::from_stored(text(row, 1)?),
        session: get(row, 2)?,
        title: get(row, 3)?,
        hash: get(row, 4)?,
        message_count: count(row, 5)?,
        total_tokens: count(row, 6)?,
        platform: Platform::parse(text(row, 7)?)
            .ok_or_else(|| PostgresFault::Row("platform holds no known word".into()))?,
        created_at: time(row, 8)?,
        accessed_at: time(row, 9)?,
        expires_at: time_or_none(row, 10)?,
    })
}

/// `list_from` and `list_expires_at`, beginning at column `at`.
pub(super) fn window(row: &Row, at: usize) -> Attempt<Option<Window>> {
    let from = count(row, at)?;
    let expires_at = time_or_none(row, at + 1)?;
    Ok(expires_at.map(|expires_at| Window { from, expires_at }))
}

/// The columns of `MESSAGES…`, in their order.
pub(super) fn message(row: &Row) -> Attempt<Message> {
    let metadata: Option<&str> = get(row, 6)?;
    let external_id: Option<&str> = get(row, 7)?;
    Ok(Message {
        id: MessageId(id(row, 0)?),
        sequence: count(row, 1)?,
        role: Role::parse(text(row, 2)?)
            .map_err(|_| PostgresFault::Row("role holds no known word".into()))?,
        content: Content::from_stored(text(row, 3)?),
        sent_at: time(row, 4)?,
        created_at: time(row, 5)?,
        metadata: metadata.map(Metadata::from_stored),
        external_id: external_id.map(Into::into),
    })
}

/// The columns of `USAGE_GET`, beginning at column `at`.
pub(super) fn usage(row: &Row, at: usize) -> Attempt<Usage> {
    Ok(Usage {
        total_requests: count(row, at)?,
        cache_hits: count(row, at + 1)?,
        cache_misses: count(row, at + 2)?,
        total_input_tokens: count(row, at + 3)?,
        total_output_tokens: count(row, at + 4)?,
        monthly_requests_used: count(row, at + 5)?,
        updated_at: time(row, at + 6)?,
        lookup_misses: count(row, at + 7)?,
        tokens_saved: count(row, at + 8)?,
    })
}
