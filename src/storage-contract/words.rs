//! The words the laws are written in.

use crate::Fixture;
use guestbook_core::{
    ClientId, Content, Conversation, ConversationId, GuestId, Message, MessageId, ModelId,
    NewMessage, OwnerId, Role, Timestamp, Ttl, Usage, Vector,
};
use guestbook_storage::database::{
    AuditScope, AuditedMessage, Batch, ChatKey, ConversationAudit, CounterDeltas, Embedding, Entry,
    Erased, Group, History, Migrated, OutboxEntry, Outcome, PageRange, PageStart, Recorded,
    SyncedRange, TableSettings, UsageAudit,
};
use guestbook_storage::list_cache::ListRange;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

pub const SECOND: Duration = Duration::from_secs(1);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(86_400);
/// How long the lists of the laws live: not as long as they do where nothing is set.
pub const TTL: Duration = Duration::from_secs(20 * 3600);
/// How long the conversations of the laws about retention are kept.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// A page that holds everything.
pub const ALL: usize = 100_000;
/// The whole of a list.
pub const WHOLE: ListRange = ListRange {
    from: 0,
    limit: usize::MAX,
    bytes: usize::MAX,
};

/// The noon at which the laws begin. Far in the future, because a store that expires by its own clock must not do so here.
pub fn noon() -> Timestamp {
    time("2100-06-15T12:00:00Z")
}

pub fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// Noon plus some seconds.
pub fn at(seconds: u64) -> Timestamp {
    noon().plus(SECOND * u32::try_from(seconds).unwrap())
}

/// Lists live for [`TTL`], chats are kept for ever, vectors are of [`model`].
pub fn forever() -> TableSettings {
    TableSettings {
        list_ttl: Ttl(TTL),
        retention: None,
        model: Some(model("first")),
        cache_backend: "lists",
        text_index: false,
    }
}

/// The same, and retention ends a chat after a week.
pub fn a_week() -> TableSettings {
    TableSettings {
        retention: Some(KEPT),
        ..forever()
    }
}

/// The same, and the words of all messages are indexed.
pub fn indexed() -> TableSettings {
    TableSettings {
        text_index: true,
        ..a_week()
    }
}

/// How many numbers a vector of the laws has.
pub const DIMENSION: usize = 8;

pub fn model(name: &str) -> ModelId {
    let digest = [u8::try_from(name.len()).unwrap(); 32];
    ModelId::new(name, DIMENSION, &digest)
}

/// The text of `embedding_model`.
pub fn model_name(model: &ModelId) -> String {
    model.as_str().to_owned()
}

/// Some vector; the only place that knows how one is made.
pub fn vector(seed: u8) -> Vector {
    Vector::from_bytes(&[seed + 1; DIMENSION]).unwrap()
}

pub fn guest(name: &str) -> GuestId {
    GuestId::parse(name).unwrap()
}

pub fn owner(name: &str) -> OwnerId {
    OwnerId::parse("owner", name).unwrap()
}

pub fn content(text: &str) -> Content {
    Content::parse(text, 65_536).unwrap()
}

/// An id nobody else has.
pub fn fresh_id() -> MessageId {
    MessageId(Uuid::now_v7())
}

/// An id that a client chose.
pub fn id(n: u128) -> MessageId {
    MessageId(Uuid::from_u128(n))
}

/// A message under an id of our own.
pub fn words(name: &str, role: Role, text: &str) -> NewMessage {
    NewMessage::new(fresh_id(), guest(name), role, content(text), noon())
}

/// A user message under an id that may be sent again.
pub fn repeatable(n: u128, name: &str, text: &str) -> NewMessage {
    words(name, Role::User, text).with_client_id(id(n))
}

/// The answer to a group that was refused for an id.
pub fn conflict(index: usize, id: impl Into<ClientId>) -> Outcome {
    let id = id.into();
    Outcome::Conflict { index, id }
}

/// An entry without an embedder.
pub fn plain(message: NewMessage) -> Entry {
    with(message, Embedding::Off)
}

pub fn with(message: NewMessage, embedding: Embedding) -> Entry {
    Entry { message, embedding }
}

/// A group of messages without vectors.
pub fn group(messages: impl IntoIterator<Item = NewMessage>) -> Group {
    Group(messages.into_iter().map(plain).collect())
}

pub fn batch(at: Timestamp, groups: Vec<Group>) -> Arc<Batch> {
    Arc::new(Batch {
        at,
        groups,
        ..Batch::default()
    })
}

/// Hits and misses of reads.
pub fn reads(hits: u64, misses: u64) -> CounterDeltas {
    CounterDeltas {
        hits,
        misses,
        ..CounterDeltas::default()
    }
}

impl Fixture {
    /// Stores groups at a time.
    pub async fn record(&self, at: Timestamp, groups: Vec<Group>) -> Vec<Outcome> {
        self.database.chats.record(batch(at, groups)).await.unwrap()
    }

    /// Stores one entry that nothing speaks against.
    pub async fn keep(&self, at: Timestamp, entry: Entry) -> Recorded {
        let outcomes = self.record(at, vec![Group(vec![entry])]).await;
        only(stored(&outcomes[0]))
    }

    /// A guest says something.
    pub async fn say(&self, at: Timestamp, name: &str, text: &str) -> Recorded {
        self.keep(at, plain(words(name, Role::User, text))).await
    }

    /// A guest says `n` things, a second apart from `start`.
    pub async fn chatter(&self, start: Timestamp, name: &str, n: u32) -> Vec<Recorded> {
        let mut said = Vec::new();
        for i in 0..n {
            let text = format!("{name} says {i}");
            said.push(self.say(start.plus(SECOND * i), name, &text).await);
        }
        said
    }

    pub async fn erase(&self, at: Timestamp, name: &str) -> Erased {
        self.database.chats.erase(&guest(name), at).await.unwrap()
    }

    pub async fn migrate(&self, at: Timestamp, from: &str, to: &str) -> Migrated {
        let (from, to) = (guest(from), owner(to));
        self.database.chats.migrate(&from, &to, at).await.unwrap()
    }

    /// A user's newest conversations.
    pub async fn owned(
        &self,
        name: &str,
        before: Option<ConversationId>,
        limit: usize,
    ) -> Vec<Conversation> {
        let user = owner(name);
        let page = self.database.chats.conversations(&user, before, limit);
        page.await.unwrap()
    }

    pub async fn history(&self, name: &str, now: Timestamp) -> Option<History> {
        let key = ChatKey::Guest(guest(name));
        let page = PageRange {
            limit: ALL,
            from: PageStart::At(0),
        };
        self.database.chats.history(&key, page, now).await.unwrap()
    }

    pub async fn conversation(&self, name: &str, now: Timestamp) -> Conversation {
        self.history(name, now).await.unwrap().conversation
    }

    pub async fn messages(&self, name: &str, now: Timestamp) -> Vec<Message> {
        let history = self.history(name, now).await;
        history.map(|history| history.messages).unwrap_or_default()
    }

    pub async fn page(&self, name: &str, from: PageStart, limit: usize) -> Vec<u64> {
        let key = ChatKey::Guest(guest(name));
        let page = PageRange { limit, from };
        let history = self
            .database
            .chats
            .history(&key, page, noon())
            .await
            .unwrap();
        let messages = history.unwrap().messages;
        messages.iter().map(|message| message.sequence).collect()
    }

    pub async fn conversation_audits(&self, scope: AuditScope) -> Vec<ConversationAudit> {
        let page = self
            .database
            .audit
            .conversation_audits(scope, ALL)
            .await
            .unwrap();
        page.conversation_audits
    }

    pub async fn conversation_audit(&self, conversation: ConversationId) -> ConversationAudit {
        let scope = AuditScope::Conversation(conversation);
        only(self.conversation_audits(scope).await)
    }

    pub async fn audited(&self, recorded: &Recorded) -> AuditedMessage {
        let conversation_audit = self.conversation_audit(recorded.conversation).await;
        let mut messages = conversation_audit.messages.into_iter();
        messages.find(|m| m.id == recorded.id).unwrap()
    }

    /// Which sequences of a conversation its list is said to have.
    pub async fn synced(&self, conversation: ConversationId) -> Vec<u64> {
        let messages = self.conversation_audit(conversation).await.messages;
        let synced = messages
            .iter()
            .filter(|m| m.mapping.as_ref().unwrap().is_synced);
        synced.map(|m| m.sequence).collect()
    }

    pub async fn usage(&self, name: &str) -> UsageAudit {
        self.database.audit.usage_audit(&owner(name)).await.unwrap()
    }

    pub async fn usage_row(&self, name: &str) -> Usage {
        self.usage(name).await.row.unwrap()
    }

    /// Usage rows say what the messages imply, for everyone.
    pub async fn assert_usage_adds_up(&self) {
        for audit in self.database.audit.usage_audits(None, ALL).await.unwrap() {
            assert_adds_up(&audit);
        }
    }

    pub async fn outbox_entries(&self, now: Timestamp) -> Vec<OutboxEntry> {
        self.database
            .outbox
            .outbox_entries(None, now, ALL)
            .await
            .unwrap()
    }

    /// Notes that the list has these messages.
    pub async fn mark_synced(&self, at: Timestamp, recorded: &[Recorded]) {
        let synced_ranges = recorded.iter().map(synced_range).collect();
        let database = &self.database;
        database
            .outbox
            .mark_synced(synced_ranges, CounterDeltas::default(), at)
            .await
            .unwrap();
    }
}

pub fn synced_range(recorded: &Recorded) -> SyncedRange {
    SyncedRange {
        conversation: recorded.conversation,
        next: recorded.sequence + 1,
        messages: vec![recorded.id],
    }
}

/// The counters of a row are those of the messages. An owner without a message has no row, or one of zeros.
pub fn assert_adds_up(audit: &UsageAudit) {
    let counters = |usage: &Usage| {
        (
            usage.total_requests,
            usage.cache_misses,
            usage.total_input_tokens,
            usage.total_output_tokens,
        )
    };
    let mut row = audit.row.clone().unwrap_or_default();
    // Lookups of the prompt cache are counted beside the messages.
    row.total_requests -= row.cache_hits + row.lookup_misses;
    row.cache_misses -= row.lookup_misses;
    assert_eq!(counters(&row), counters(&audit.counted), "{audit:?}");
}

/// What was stored, of an outcome that is no conflict.
pub fn stored(outcome: &Outcome) -> Vec<Recorded> {
    match outcome {
        Outcome::Stored(recorded) => recorded.clone(),
        Outcome::Conflict { .. } => panic!("not stored: {outcome:?}"),
    }
}

/// The only element there is.
pub fn only<T: std::fmt::Debug>(mut all: Vec<T>) -> T {
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}
