//! Incoming JSON, parsed field by field, so that every fault names its field.

use crate::Problem;
use guestbook_core::{
    ClientId, Content, GuestId, IdempotencyKey, InvalidField, MessageId, Metadata, NewMessage,
    OwnerId, Role, Timestamp,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use uuid::Uuid;

/// An incoming message; every field is checked on its own.
#[derive(Deserialize)]
pub(crate) struct MessageRequest<'a> {
    #[serde(borrow)]
    guest_id: Option<&'a RawValue>,
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// `{"messages":[…]}`.
#[derive(Deserialize)]
pub(crate) struct BatchRequest<'a> {
    #[serde(borrow)]
    pub(crate) messages: Option<&'a RawValue>,
}

/// `{"authenticated_user_id":…}`.
#[derive(Deserialize)]
pub(crate) struct MigrationRequest<'a> {
    #[serde(borrow)]
    authenticated_user_id: Option<&'a RawValue>,
}

/// A string that is copied only when it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Parses a JSON document. Invalid JSON is a 400; JSON of another shape, or with a name that is no Unicode text, is a 422.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|cause| misshapen(text, &cause))
}

/// Parsing ended at the first value of a wrong shape. Invalid JSON after it is the graver fault.
fn misshapen(text: &str, cause: &serde_json::Error) -> Problem {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => InvalidField::new("body", shape(cause)).into(),
        Err(cause) => malformed(&cause),
    }
}

fn malformed(cause: &serde_json::Error) -> Problem {
    Problem::malformed(format!("the body is not valid JSON: {cause}"))
}

/// Parses a JSON object. An array is rejected, though serde would read its elements as the fields.
pub(crate) fn read_object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    match text
        .trim_start_matches([' ', '\t', '\r', '\n'])
        .starts_with('[')
    {
        false => read(text),
        // Parsing it distinguishes malformed JSON from JSON of the wrong kind.
        true => read::<serde::de::IgnoredAny>(text).and_then(|_| {
            Err(InvalidField::new("body", "must be a JSON object, and is an array").into())
        }),
    }
}

/// serde's words without the name of our type, which means nothing to a client.
fn shape(cause: &serde_json::Error) -> String {
    let text = cause.to_string();
    match text.split_once(", expected struct") {
        Some((found, _)) => format!("{found}, expected a JSON object"),
        None => text,
    }
}

impl MessageRequest<'_> {
    /// The message for a guest whose id is in the path.
    pub(crate) fn for_guest(
        &self,
        guest: &GuestId,
        key: Option<IdempotencyKey>,
        content_limit: usize,
    ) -> Result<NewMessage, InvalidField> {
        let role = Role::parse(&text("role", self.role)?)?;
        let content = Content::parse(&text("content", self.content)?, content_limit)?;
        let timestamp = present(self.timestamp).map(|raw| text("timestamp", Some(raw)));
        let sent_at = timestamp.transpose()?.map(|text| Timestamp::parse(&text));
        let sent_at = sent_at.transpose()?;
        let metadata = present(self.metadata)
            .map(|raw| Metadata::parse(raw.get()))
            .transpose()?;
        let message = NewMessage::new(
            MessageId(Uuid::now_v7()),
            guest.clone(),
            role,
            content,
            sent_at.unwrap_or_default(),
        );
        let message = match sent_at {
            Some(_) => message,
            None => message.untimed(),
        };
        let message = match (self.client_id()?, key) {
            (Some(_), Some(_)) => {
                let rule = "is given beside `id`; send one of them";
                return Err(InvalidField::new("Idempotency-Key", rule));
            }
            (Some(id), None) => message.with_client_id(id),
            (None, Some(key)) => message.with_client_id(key.message_id(guest)),
            (None, None) => message,
        };
        Ok(message.with_metadata(metadata))
    }

    /// The message for the guest it names itself.
    pub(crate) fn for_its_guest(
        &self,
        key: Option<IdempotencyKey>,
        content_limit: usize,
    ) -> Result<NewMessage, InvalidField> {
        let guest = GuestId::parse(&text("guest_id", self.guest_id)?)?;
        self.for_guest(&guest, key, content_limit)
    }

    fn client_id(&self) -> Result<Option<ClientId>, InvalidField> {
        let Some(raw) = present(self.id) else {
            return Ok(None);
        };
        ClientId::parse(&text("id", Some(raw))?).map(Some)
    }
}

impl MigrationRequest<'_> {
    /// The user to migrate to.
    pub(crate) fn user(&self) -> Result<OwnerId, InvalidField> {
        let field = "authenticated_user_id";
        OwnerId::parse(field, &text(field, self.authenticated_user_id)?)
    }
}

pub(super) fn present(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| raw.get() != "null")
}

pub(super) fn text<'a>(
    field: &str,
    raw: Option<&'a RawValue>,
) -> Result<Cow<'a, str>, InvalidField> {
    let raw = present(raw).ok_or_else(|| InvalidField::new(field, "is required"))?;
    if !raw.get().starts_with('"') {
        return Err(InvalidField::new(field, "must be a string"));
    }
    let parsed = serde_json::from_str::<Text<'_>>(raw.get());
    parsed
        .map(|text| text.0)
        .map_err(|_| InvalidField::new(field, "holds an escape that is no Unicode text"))
}
