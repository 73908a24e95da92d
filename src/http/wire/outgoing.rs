//! Outgoing JSON.

use super::global_search::IndexResponse;
use guestbook_core::error::Result as StoreResult;
use guestbook_core::{Conversation, GuestId, ListState, Message, OwnerId};
use guestbook_service::{Deleted, SavedMessage, SessionPage};
use guestbook_storage::database::Migrated;
use guestbook_storage::list_cache::Item;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// The response to a stored message.
#[derive(Serialize)]
pub(crate) struct SavedResponse<'a> {
    status: &'static str,
    guest_id: &'a str,
    message_id: Uuid,
    /// The client's id, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    conversation_id: Uuid,
    sequence: u64,
    stored_in: Vec<&'static str>,
    receipt: ReceiptResponse,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

#[derive(Serialize)]
struct ReceiptResponse {
    list: &'static str,
    conversation: &'static str,
    message: &'static str,
    embedding: &'static str,
    usage: &'static str,
    mapping: &'static str,
    metrics: &'static str,
}

impl<'a> SavedResponse<'a> {
    /// `lists` and `database` are the names of the two stores.
    pub(crate) fn new(
        saved: &'a SavedMessage,
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
            id: recorded.external_id.as_deref(),
            conversation_id: recorded.conversation.0,
            sequence: recorded.sequence,
            stored_in: listed
                .then_some(lists)
                .into_iter()
                .chain([database])
                .collect(),
            receipt: ReceiptResponse {
                list: receipt.list.as_str(),
                conversation: receipt.conversation.as_str(),
                // One transaction: if the message is stored, so are these.
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

/// A message's id as its sender knows it.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ShownId<'a> {
    Own(Uuid),
    External(&'a str),
}

impl<'a> From<&'a Message> for ShownId<'a> {
    fn from(message: &'a Message) -> Self {
        match &message.external_id {
            Some(external) => Self::External(external),
            None => Self::Own(message.id.0),
        }
    }
}

/// A message in a history.
#[derive(Serialize)]
pub(crate) struct MessageResponse<'a> {
    role: &'static str,
    content: &'a str,
    timestamp: String,
    id: ShownId<'a>,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

impl<'a> From<&'a Message> for MessageResponse<'a> {
    fn from(message: &'a Message) -> Self {
        let metadata = message.metadata.as_ref();
        Self {
            role: message.role.as_str(),
            content: message.content.as_str(),
            timestamp: message.sent_at.to_string(),
            id: message.into(),
            sequence: message.sequence,
            // Stored metadata was checked to be JSON; anything else is left out, to keep the response valid.
            metadata: metadata.and_then(|metadata| serde_json::from_str(metadata.as_str()).ok()),
        }
    }
}

/// A guest's session list, before its `messages`.
#[derive(Serialize)]
pub(crate) struct SessionResponse<'a> {
    guest_id: &'a str,
    key: String,
    ttl: u64,
    source: &'static str,
    /// The sequence of the first message of the page.
    first: u64,
}

/// One item of it.
#[derive(Serialize)]
pub(crate) struct SessionItemResponse<'a> {
    role: &'static str,
    content: &'a str,
    timestamp: String,
}

impl<'a> SessionResponse<'a> {
    pub(crate) fn new(guest: &'a GuestId, session: &SessionPage) -> Self {
        Self {
            guest_id: guest.as_str(),
            key: format!("guest:{guest}"),
            ttl: session.ttl.as_secs(),
            source: session.source,
            first: session.bounds.start,
        }
    }
}

impl<'a> From<&'a Item> for SessionItemResponse<'a> {
    fn from(item: &'a Item) -> Self {
        Self {
            role: item.role.as_str(),
            content: item.content.as_str(),
            timestamp: item.timestamp.to_string(),
        }
    }
}

/// The response to a deletion.
#[derive(Serialize)]
pub(crate) struct DeletedResponse<'a> {
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
    prompts: u64,
}

impl<'a> DeletedResponse<'a> {
    pub(crate) fn new(guest: &'a str, deleted: Deleted) -> Self {
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
                prompts: erased.prompts,
            },
        }
    }
}

/// The response to a migration.
#[derive(Serialize)]
pub(crate) struct MigratedResponse<'a> {
    status: &'static str,
    guest_id: &'a str,
    user_id: &'a str,
    conversations_migrated: u64,
    messages_migrated: u64,
    message: String,
}

impl<'a> MigratedResponse<'a> {
    pub(crate) fn new(guest: &'a GuestId, user: &'a OwnerId, migrated: Migrated) -> Self {
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

/// A conversation without its messages.
#[derive(Serialize)]
pub(crate) struct ConversationResponse<'a> {
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
}

impl<'a> From<&'a Conversation> for ConversationResponse<'a> {
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
        }
    }
}

/// The readiness of the service and of each part.
#[derive(Serialize)]
pub(crate) struct ReadyResponse {
    pub(crate) status: &'static str,
    pub(crate) database: BackendResponse,
    pub(crate) lists: BackendResponse,
    pub(crate) embedder: Option<String>,
    /// Why it makes no vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) embedder_problem: Option<String>,
    pub(crate) search_index: IndexResponse,
    /// Log lines lost.
    pub(crate) log_dropped: u64,
}

#[derive(Serialize)]
pub(crate) struct BackendResponse {
    pub(crate) backend: &'static str,
    pub(crate) ok: bool,
    /// The durability of a commit, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) durability: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<&'static str>,
}

impl BackendResponse {
    pub(crate) fn new(
        backend: &'static str,
        health: &StoreResult<()>,
        detail: &'static str,
    ) -> Self {
        Self {
            backend,
            ok: health.is_ok(),
            durability: None,
            detail: health.is_err().then_some(detail),
        }
    }
}
