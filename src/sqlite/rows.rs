//! Conversions between rows and domain types.

use guestbook_core::{
    Content, Conversation, ConversationId, Message, MessageId, Metadata, OwnerId, Platform, Role,
    Timestamp, Usage, Window,
};
use guestbook_storage::database::MessageSize;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{Error, Row};
use uuid::Uuid;

/// An id as 36 characters.
pub(super) struct Id(pub(super) Uuid);

impl ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_hyphenated().to_string().into())
    }
}

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Uuid::parse_str(text).map(Self).map_err(FromSqlError::other)
    }
}

/// A timestamp as 24 characters.
pub(super) struct Time(pub(super) Timestamp);

impl ToSql for Time {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.stored().into())
    }
}

impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Timestamp::parse(value.as_str()?)
            .map(Self)
            .map_err(FromSqlError::other)
    }
}

/// The columns of `CONVERSATION_COLUMNS`, in that order.
pub(super) fn conversation(row: &Row<'_>) -> rusqlite::Result<Conversation> {
    Ok(Conversation {
        id: ConversationId(row.get::<_, Id>(0)?.0),
        owner: OwnerId::from_stored(row.get_ref(1)?.as_str()?),
        session: row.get(2)?,
        title: row.get(3)?,
        hash: row.get(4)?,
        message_count: row.get(5)?,
        total_tokens: row.get(6)?,
        platform: Platform::parse(row.get_ref(7)?.as_str()?)
            .ok_or_else(|| unreadable(7, "platform"))?,
        created_at: row.get::<_, Time>(8)?.0,
        accessed_at: row.get::<_, Time>(9)?.0,
        expires_at: row.get::<_, Option<Time>>(10)?.map(|time| time.0),
    })
}

/// `list_from` and `list_expires_at`, beginning at column `at`.
pub(super) fn window(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Window>> {
    let from = row.get(at)?;
    let expires_at = row.get::<_, Option<Time>>(at + 1)?;
    Ok(expires_at.map(|time| Window {
        from,
        expires_at: time.0,
    }))
}

/// The columns of `MESSAGE_COLUMNS`, in that order.
pub(super) fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: MessageId(row.get::<_, Id>(0)?.0),
        sequence: row.get(1)?,
        role: Role::parse(row.get_ref(2)?.as_str()?).map_err(|_| unreadable(2, "role"))?,
        content: Content::from_stored(row.get_ref(3)?.as_str()?),
        sent_at: row.get::<_, Time>(4)?.0,
        created_at: row.get::<_, Time>(5)?.0,
        metadata: row.get_ref(6)?.as_str_or_null()?.map(Metadata::from_stored),
        external_id: row.get_ref(7)?.as_str_or_null()?.map(Into::into),
    })
}

/// A sequence and a number of bytes.
pub(super) fn message_size(row: &Row<'_>) -> rusqlite::Result<MessageSize> {
    Ok(MessageSize {
        sequence: row.get(0)?,
        bytes: row.get(1)?,
    })
}

/// The columns of `USAGE_COLUMNS`, beginning at column `at`; `None` when the first of them is NULL.
pub(super) fn usage(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Usage>> {
    let Some(total_requests) = row.get(at)? else {
        return Ok(None);
    };
    Ok(Some(Usage {
        total_requests,
        cache_hits: row.get(at + 1)?,
        cache_misses: row.get(at + 2)?,
        total_input_tokens: row.get(at + 3)?,
        total_output_tokens: row.get(at + 4)?,
        monthly_requests_used: row.get(at + 5)?,
        updated_at: row.get::<_, Time>(at + 6)?.0,
        lookup_misses: row.get(at + 7)?,
        tokens_saved: row.get(at + 8)?,
    }))
}

/// The error for a column with an unknown word.
pub(super) fn unreadable(column: usize, name: &str) -> Error {
    Error::FromSqlConversionFailure(
        column,
        Type::Text,
        format!("{name} holds no known word").into(),
    )
}
