//! The rows, and the lookups that several calls share.

use super::metrics::HourRows;
use super::prompts::MemoryPrompts;
use crate::Stats;
use crate::database::{FoundMapping, PersistedSettings, StoredSettings, TableSettings};
use guestbook_core::{
    Conversation, ConversationId, Digest, EmbeddingState, GuestId, Message, MessageId, ModelId,
    NewMessage, OwnerId, Platform, Role, Timestamp, Usage, Vector, Window, chain_link, chain_start,
    title,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// All rows. Ordered maps, because pages are by ascending id.
pub(super) struct MemoryTables {
    pub(super) settings: TableSettings,
    pub(super) conversations: BTreeMap<ConversationId, ChatRow>,
    /// The one conversation each guest has while it is a guest's.
    pub(super) guests: BTreeMap<GuestId, ConversationId>,
    pub(super) messages: BTreeMap<MessageId, MessageRow>,
    /// Messages of a conversation by their external ids.
    pub(super) externals: BTreeMap<(ConversationId, Arc<str>), MessageId>,
    pub(super) usage: BTreeMap<OwnerId, Usage>,
    pub(super) hours: HourRows,
    pub(super) prompts: MemoryPrompts,
    /// `cache_migrations`, a line each.
    pub(super) migrations: Vec<String>,
    /// Guests whose list must be removed.
    pub(super) removals: BTreeSet<GuestId>,
    pub(super) lists_incarnation: Option<Uuid>,
    pub(super) stored: StoredSettings,
}

/// A conversation's row, and its messages by sequence.
pub(super) struct ChatRow {
    pub(super) conversation: Conversation,
    /// The guest who began it; the conversation's session, typed.
    pub(super) guest: GuestId,
    pub(super) head: Digest,
    pub(super) titled: bool,
    pub(super) window: Option<Window>,
    /// The sequence up to which the list is durable.
    pub(super) list_synced: u64,
    pub(super) sequences: BTreeMap<u64, MessageId>,
}

/// A message's row, and its derived rows.
pub(super) struct MessageRow {
    pub(super) conversation: ConversationId,
    pub(super) message: Message,
    pub(super) hash: Digest,
    pub(super) tokens: u64,
    pub(super) vector: Option<StoredVector>,
    pub(super) note: Option<EmbeddingNote>,
    pub(super) mapping: Option<FoundMapping>,
}

/// A vector and its model.
pub(super) struct StoredVector {
    pub(super) model: ModelId,
    pub(super) vector: Vector,
}

/// Why a message has no vector.
pub(super) struct EmbeddingNote {
    /// The model that was tried, or is to be.
    pub(super) model: ModelId,
    pub(super) state: EmbeddingState,
    pub(super) attempts: u32,
    pub(super) cause: String,
}

impl MemoryTables {
    pub(super) fn new(settings: TableSettings) -> Self {
        let held = Some(PersistedSettings::of(&settings));
        Self {
            stored: StoredSettings {
                held,
                ..StoredSettings::default()
            },
            settings,
            conversations: BTreeMap::new(),
            guests: BTreeMap::new(),
            messages: BTreeMap::new(),
            externals: BTreeMap::new(),
            usage: BTreeMap::new(),
            hours: HourRows::default(),
            prompts: MemoryPrompts::default(),
            migrations: Vec::new(),
            removals: BTreeSet::new(),
            lists_incarnation: None,
        }
    }

    /// A guest's conversation, also when retention has ended it.
    pub(super) fn chat_of(&self, guest: &GuestId) -> Option<&ChatRow> {
        self.conversations.get(self.guests.get(guest)?)
    }

    /// Whether an id owns conversations as a signed-in user.
    pub(super) fn is_user(&self, owner: &OwnerId) -> bool {
        let owned = |chat: &ChatRow| !chat.is_guests() && chat.conversation.owner == *owner;
        self.conversations.values().any(owned)
    }

    /// The rows of a conversation, in sequence order.
    pub(super) fn rows<'a>(&'a self, chat: &'a ChatRow) -> impl Iterator<Item = &'a MessageRow> {
        chat.sequences
            .values()
            .filter_map(|id| self.messages.get(id))
    }

    /// Marks messages as no longer in a list.
    pub(super) fn unsync(&mut self, messages: &[MessageId]) {
        for id in messages {
            let mapping = self
                .messages
                .get_mut(id)
                .and_then(|row| row.mapping.as_mut());
            if let Some(mapping) = mapping {
                mapping.is_synced = false;
            }
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let vector = |row: &MessageRow| row.vector.as_ref().map_or(0, StoredVector::bytes);
        let bytes = |row: &MessageRow| row.message.content.as_str().len() as u64 + vector(row);
        Stats {
            entries: self.messages.len() as u64,
            bytes: self.messages.values().map(bytes).sum(),
        }
    }
}

impl ChatRow {
    /// A conversation without a message.
    pub(super) fn begin(id: ConversationId, guest: &GuestId, at: Timestamp) -> Self {
        let head = chain_start(id);
        Self {
            conversation: Conversation {
                id,
                owner: guest.into(),
                session: guest.as_str().into(),
                title: title(guest.as_str(), None),
                hash: head.to_hex(),
                message_count: 0,
                total_tokens: 0,
                platform: Platform::Guest,
                created_at: at,
                accessed_at: at,
                expires_at: None,
            },
            guest: guest.clone(),
            head,
            titled: false,
            window: None,
            list_synced: 0,
            sequences: BTreeMap::new(),
        }
    }

    pub(super) fn is_guests(&self) -> bool {
        self.conversation.platform == Platform::Guest
    }

    /// Whether retention has ended it: from then on no reader sees it.
    pub(super) fn is_ended(&self, now: Timestamp) -> bool {
        self.conversation.expires_at.is_some_and(|ends| ends <= now)
    }

    /// The window of a guest's live list at `now`.
    pub(super) fn live_window(&self, now: Timestamp) -> Option<Window> {
        let guests = self.window.filter(|_| self.is_guests());
        guests.filter(|window| window.is_live(now))
    }

    /// Counts one message; returns its sequence, and the messages that fell out of the list.
    pub(super) fn advance(
        &mut self,
        message: &NewMessage,
        id: MessageId,
        at: Timestamp,
        settings: &TableSettings,
    ) -> (u64, Vec<MessageId>) {
        // The count is the next sequence; if it is damaged, still no message is overwritten.
        let after_last = self
            .sequences
            .last_key_value()
            .map_or(0, |(last, _)| last + 1);
        let sequence = self.conversation.message_count.max(after_last);
        let window = Window::advance(self.window, sequence, at, settings.list_ttl);
        let begun_anew = self.window.is_none_or(|before| before.from < window.from);
        let earlier = self.sequences.values().copied();
        let fallen_out = earlier.filter(|_| begun_anew).collect();

        self.head = chain_link(
            self.head,
            sequence,
            message.role,
            message.hash,
            message.sent_at,
        );
        self.window = Some(window);
        self.sequences.insert(sequence, id);
        let row = &mut self.conversation;
        if message.role == Role::User && !self.titled {
            row.title = title(&row.session, Some(message.content.as_str()));
            self.titled = true;
        }
        row.hash = self.head.to_hex();
        row.message_count = sequence + 1;
        row.total_tokens += message.tokens;
        row.accessed_at = at;
        row.expires_at = settings.retention.map(|span| at.plus(span));
        (sequence, fallen_out)
    }
}

impl MessageRow {
    /// The embedding state of the receipt.
    pub(super) fn embedding(&self) -> EmbeddingState {
        match (&self.vector, &self.note) {
            (Some(_), _) => EmbeddingState::Stored,
            (None, Some(note)) => note.state,
            (None, None) => EmbeddingState::Off,
        }
    }

    pub(super) fn has_vector_of(&self, model: &ModelId) -> bool {
        self.vector.as_ref().is_some_and(|v| v.model == *model)
    }
}

impl StoredVector {
    pub(super) fn bytes(&self) -> u64 {
        self.vector.to_bytes().len() as u64
    }

    /// `embedding_model`.
    pub(super) fn model_name(&self) -> String {
        self.model.as_str().to_owned()
    }

    /// `embedding_dim`.
    pub(super) fn dimension(&self) -> u64 {
        self.vector.dimension() as u64
    }
}
