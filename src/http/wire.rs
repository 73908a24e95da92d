//! The JSON that goes in and out. What comes in is taken apart field by field, so that every fault names its field.

use crate::chat::{
    Content, Conversation, GuestId, IdempotencyKey, InvalidField, ListState, Message, MessageId,
    Metadata, NewMessage, OwnerId, Role, Timestamp,
};
use crate::error::Result as StoreResult;
use crate::http::Problem;
use crate::service::{Deleted, Saved, Session};
use crate::storage::database::Migrated;
use crate::storage::list_cache::Item;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use uuid::Uuid;

/// A message as it comes in; every field is checked on its own.
#[derive(Deserialize)]
pub(super) struct IncomingMessage<'a> {
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
pub(super) struct IncomingBatch<'a> {
    #[serde(borrow)]
    pub(super) messages: Option<&'a RawValue>,
}

/// `{"authenticated_user_id":…}`.
#[derive(Deserialize)]
pub(super) struct IncomingMigration<'a> {
    #[serde(borrow)]
    authenticated_user_id: Option<&'a RawValue>,
}

/// A string that is copied only when it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a JSON document. What is no JSON is a 400; JSON of another shape is a 422.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|cause| match cause.classify() {
        serde_json::error::Category::Data => InvalidField::new("body", shape(&cause)).into(),
        _ => Problem::malformed(format!("the body is not valid JSON: {cause}")),
    })
}

/// serde's words without the name of our type, which means nothing to a client.
fn shape(cause: &serde_json::Error) -> String {
    let text = cause.to_string();
    match text.split_once(", expected struct") {
        Some((found, _)) => format!("{found}, expected a JSON object"),
        None => text,
    }
}

impl IncomingMessage<'_> {
    /// The message for a guest whose id stands in the path.
    pub(super) fn for_guest(
        &self,
        guest: &GuestId,
        key: Option<IdempotencyKey>,
        content_limit: usize,
    ) -> Result<NewMessage, InvalidField> {
        let role = Role::parse(&text("role", self.role)?)?;
        let content = Content::parse(&text("content", self.content)?, content_limit)?;
        let sent_at = Timestamp::parse(&text("timestamp", self.timestamp)?)?;
        let metadata = present(self.metadata)
            .map(|raw| Metadata::parse(raw.get()))
            .transpose()?;
        let message = NewMessage::new(
            MessageId(Uuid::now_v7()),
            guest.clone(),
            role,
            content,
            sent_at,
        );
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
    pub(super) fn for_its_guest(&self, content_limit: usize) -> Result<NewMessage, InvalidField> {
        let guest = GuestId::parse(&text("guest_id", self.guest_id)?)?;
        self.for_guest(&guest, None, content_limit)
    }

    fn client_id(&self) -> Result<Option<MessageId>, InvalidField> {
        let Some(raw) = present(self.id) else {
            return Ok(None);
        };
        let parsed = Uuid::parse_str(&text("id", Some(raw))?);
        let id = parsed.map_err(|_| InvalidField::new("id", "must be a UUID"))?;
        Ok(Some(MessageId(id)))
    }
}

impl IncomingMigration<'_> {
    /// The user to become.
    pub(super) fn user(&self) -> Result<OwnerId, InvalidField> {
        let field = "authenticated_user_id";
        OwnerId::parse(field, &text(field, self.authenticated_user_id)?)
    }
}

fn present(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| raw.get() != "null")
}

fn text<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Cow<'a, str>, InvalidField> {
    let raw = present(raw).ok_or_else(|| InvalidField::new(field, "is required"))?;
    if !raw.get().starts_with('"') {
        return Err(InvalidField::new(field, "must be a string"));
    }
    let parsed = serde_json::from_str::<Text<'_>>(raw.get());
    parsed
        .map(|text| text.0)
        .map_err(|_| InvalidField::new(field, "holds an escape that is no Unicode text"))
}

/// The answer to a stored message.
#[derive(Serialize)]
pub(super) struct SavedAnswer<'a> {
    status: &'static str,
    guest_id: &'a str,
    message_id: Uuid,
    conversation_id: Uuid,
    sequence: u64,
    stored_in: Vec<&'static str>,
    receipt: ReceiptAnswer,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

#[derive(Serialize)]
struct ReceiptAnswer {
    list: &'static str,
    conversation: &'static str,
    message: &'static str,
    embedding: &'static str,
    usage: &'static str,
    mapping: &'static str,
    metrics: &'static str,
}

impl<'a> SavedAnswer<'a> {
    /// `lists` and `database` are the names of the two stores.
    pub(super) fn new(
        saved: &Saved,
        guest: &'a str,
        lists: &'static str,
        database: &'static str,
    ) -> Self {
        let (recorded, receipt) = (&saved.recorded, &saved.receipt);
        let listed = receipt.list == ListState::Stored;
        Self {
            status: "saved",
            guest_id: guest,
            message_id: recorded.id.0,
            conversation_id: recorded.conversation.0,
            sequence: recorded.sequence,
            stored_in: listed
                .then_some(lists)
                .into_iter()
                .chain([database])
                .collect(),
            receipt: ReceiptAnswer {
                list: receipt.list.as_str(),
                conversation: receipt.conversation.as_str(),
                // One transaction: when the message is there, so are these.
                message: "stored",
                embedding: receipt.embedding.as_str(),
                usage: receipt.usage.as_str(),
                mapping: "stored",
                metrics: "updated",
            },
            replayed: recorded.replayed.is_some(),
        }
    }
}

/// A message in a history.
#[derive(Serialize)]
pub(super) struct MessageAnswer<'a> {
    role: &'static str,
    content: &'a str,
    timestamp: String,
    id: Uuid,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

impl<'a> From<&'a Message> for MessageAnswer<'a> {
    fn from(message: &'a Message) -> Self {
        let metadata = message.metadata.as_ref();
        Self {
            role: message.role.as_str(),
            content: message.content.as_str(),
            timestamp: message.sent_at.to_string(),
            id: message.id.0,
            sequence: message.sequence,
            // What is stored was checked to be JSON; anything else is left out rather than making the answer invalid.
            metadata: metadata.and_then(|metadata| serde_json::from_str(metadata.as_str()).ok()),
        }
    }
}

/// A guest's live list.
#[derive(Serialize)]
pub(super) struct SessionAnswer<'a> {
    guest_id: &'a str,
    key: String,
    ttl: u64,
    source: &'static str,
    messages: Vec<ItemAnswer<'a>>,
}

#[derive(Serialize)]
struct ItemAnswer<'a> {
    role: &'static str,
    content: &'a str,
    timestamp: String,
}

impl<'a> SessionAnswer<'a> {
    pub(super) fn new(guest: &'a GuestId, session: &'a Session) -> Self {
        let item = |item: &'a Item| ItemAnswer {
            role: item.role.as_str(),
            content: item.content.as_str(),
            timestamp: item.timestamp.to_string(),
        };
        Self {
            guest_id: guest.as_str(),
            key: format!("guest:{guest}"),
            ttl: session.ttl.as_secs(),
            source: session.source,
            messages: session.items.iter().map(item).collect(),
        }
    }
}

/// The answer to a deletion.
#[derive(Serialize)]
pub(super) struct DeletedAnswer<'a> {
    status: &'static str,
    guest_id: &'a str,
    deleted_from: Vec<&'static str>,
    deleted: DeletedRows,
}

#[derive(Serialize)]
struct DeletedRows {
    messages: u64,
    conversations: u64,
    embeddings: u64,
    usage: u64,
    mappings: u64,
}

impl<'a> DeletedAnswer<'a> {
    pub(super) fn new(guest: &'a str, deleted: Deleted) -> Self {
        let erased = deleted.erased;
        Self {
            status: "deleted",
            guest_id: guest,
            deleted_from: deleted.deleted_from,
            deleted: DeletedRows {
                messages: erased.messages,
                conversations: erased.conversations,
                embeddings: erased.embeddings,
                usage: erased.usage,
                mappings: erased.mappings,
            },
        }
    }
}

/// The answer to a migration.
#[derive(Serialize)]
pub(super) struct MigratedAnswer<'a> {
    status: &'static str,
    guest_id: &'a str,
    user_id: &'a str,
    conversations_migrated: u64,
    messages_migrated: u64,
    message: String,
}

impl<'a> MigratedAnswer<'a> {
    pub(super) fn new(guest: &'a GuestId, user: &'a OwnerId, migrated: Migrated) -> Self {
        let message = match migrated.conversations {
            0 => format!("Guest {guest} has nothing to migrate"),
            _ => format!(
                "Migrated {} messages of guest {guest} to user {user}",
                migrated.messages
            ),
        };
        Self {
            status: "success",
            guest_id: guest.as_str(),
            user_id: user.as_str(),
            conversations_migrated: migrated.conversations,
            messages_migrated: migrated.messages,
            message,
        }
    }
}

/// A conversation, without or with its messages.
#[derive(Serialize)]
pub(super) struct ConversationAnswer<'a> {
    id: Uuid,
    user_id: &'a str,
    session_id: &'a str,
    title: &'a str,
    conversation_hash: &'a str,
    message_count: u64,
    total_tokens: u64,
    platform: &'static str,
    created_at: String,
    accessed_at: String,
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) messages: Option<Vec<MessageAnswer<'a>>>,
}

impl<'a> From<&'a Conversation> for ConversationAnswer<'a> {
    fn from(conversation: &'a Conversation) -> Self {
        Self {
            id: conversation.id.0,
            user_id: conversation.owner.as_str(),
            session_id: &conversation.session,
            title: &conversation.title,
            conversation_hash: &conversation.hash,
            message_count: conversation.message_count,
            total_tokens: conversation.total_tokens,
            platform: conversation.platform.as_str(),
            created_at: conversation.created_at.to_string(),
            accessed_at: conversation.accessed_at.to_string(),
            expires_at: conversation.expires_at.map(|time| time.to_string()),
            messages: None,
        }
    }
}

/// Whether the service can serve, and each of its parts.
#[derive(Serialize)]
pub(super) struct ReadyAnswer {
    pub(super) status: &'static str,
    pub(super) database: BackendAnswer,
    pub(super) lists: BackendAnswer,
    pub(super) embedder: Option<String>,
}

#[derive(Serialize)]
pub(super) struct BackendAnswer {
    pub(super) backend: &'static str,
    pub(super) ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'static str>,
}

impl BackendAnswer {
    pub(super) fn new(
        backend: &'static str,
        health: &StoreResult<()>,
        detail: &'static str,
    ) -> Self {
        Self {
            backend,
            ok: health.is_ok(),
            detail: health.is_err().then_some(detail),
        }
    }
}
