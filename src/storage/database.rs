//! The tables: the truth about every message.
//!
//! A database is [`Stores`], one trait for each concern: the chats in [`Chats`], pending list writes in [`Outbox`], missing
//! vectors in [`Vectors`], all vectors in [`VectorSource`], queries in [`Search`], the prompt cache in [`Prompts`], verify's
//! reads in [`Audit`].

mod audit;
mod cache_version;
mod corpus;
mod outbox;
mod prompts;
mod search;
pub mod settings;
mod stores;
mod vectors;

pub use audit::{
    Audit, AuditScope, AuditedMessage, ConversationAudit, ConversationAuditPage, FoundMapping,
    FoundVector, MetricsAudit, Orphan, Repair, UsageAudit,
};
pub use cache_version::CacheVersion;
pub use corpus::{Candidate, CandidateRequest, IndexedVector, IndexedVectorPage, VectorSource};
pub use outbox::{ListRow, Outbox, OutboxEntry, SyncedRange};
pub use prompts::{
    CacheEntry, CacheHits, LookupCounts, LookupTotals, NearPrompt, NewCacheEntry, OwnerLookups,
    PromptStats, Prompts,
};
pub use search::no_text_index;
pub use search::{
    Context, ContextMessage, ContextRequest, RELEVANT, Search, SearchQuery, SearchRequest,
    SearchScope, WordsRequest,
};
pub use settings::{
    ListTtlChange, Persisted, PersistedSettings, ReschedulePage, RescheduledLists,
    SettingsSnapshot, SettingsStore, StoredSettings, refused,
};
pub use stores::Stores;
pub use vectors::{Unembedded, VectorOutcome, VectorUpdate, Vectors};

use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{
    ClientId, Conversation, ConversationId, EmbeddingState, GuestId, ListState, Message, MessageId,
    ModelId, NewMessage, OwnerId, RowState, Timestamp, Ttl, Vector, Window,
};
use std::sync::Arc;
use std::time::Duration;

/// The settings under which a database writes its rows; fixed while it is open.
#[derive(Clone, Debug)]
pub struct TableSettings {
    /// How long a list lives after its last message.
    pub list_ttl: Ttl,
    /// How long a guest's conversation is kept after its last message; `None` keeps it for ever.
    pub retention: Option<Duration>,
    /// The model in use, if any: what `embedding_model` and `embedding_dim` say.
    pub model: Option<ModelId>,
    /// The name of the list store, for `cache_content_mapping.cache_backend`.
    pub cache_backend: &'static str,
    /// Whether a full-text index over all messages is kept; see [`Search::search_words`].
    pub text_index: bool,
}

/// One transaction.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The time of storing.
    pub at: Timestamp,
    /// Groups of messages; each is stored whole or not at all.
    pub groups: Vec<Group>,
    /// Durable list writes of earlier batches. This batch carries their marks, which saves a commit.
    pub synced_ranges: Vec<SyncedRange>,
    /// Reads and timings since the last batch, carried likewise.
    pub deltas: CounterDeltas,
}

impl Batch {
    /// Its messages, in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.groups.iter().flat_map(|Group(entries)| entries)
    }
}

/// Messages that are stored together or not at all. Most groups have one.
#[derive(Clone, Debug)]
pub struct Group(pub Vec<Entry>);

/// A message and its embedding.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The message.
    pub message: NewMessage,
    /// Its vector, or why there is none.
    pub embedding: Embedding,
}

/// A vector, or why there is none.
#[derive(Clone, Debug)]
pub enum Embedding {
    /// The vector.
    Vector(Vector),
    /// The model has not run yet.
    Pending,
    /// The model refused the text, for this reason.
    Failed(String),
    /// The text has nothing that the model knows.
    Nothing,
    /// There is no embedder.
    Off,
}

impl Embedding {
    /// The state the receipt shows.
    pub fn state(&self) -> EmbeddingState {
        match self {
            Self::Vector(_) => EmbeddingState::Stored,
            Self::Pending => EmbeddingState::Pending,
            Self::Failed(_) => EmbeddingState::Failed,
            Self::Nothing => EmbeddingState::Nothing,
            Self::Off => EmbeddingState::Off,
        }
    }
}

/// What `cache_metrics` counts besides stored messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CounterDeltas {
    /// Reads that found something.
    pub hits: u64,
    /// Reads that found nothing.
    pub misses: u64,
    /// Requests whose duration is in `timed_ms`; the mean is over these only.
    pub timed: u64,
    /// Sum of their durations in milliseconds.
    pub timed_ms: f64,
    /// The same per owner, for `usage_metrics.average_response_time_ms`.
    pub owners: Vec<OwnerTime>,
}

/// How long requests of one owner took.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnerTime {
    /// The owner.
    pub owner: OwnerId,
    /// How many requests.
    pub requests: u64,
    /// Sum of their durations in milliseconds.
    pub total_ms: f64,
}

impl CounterDeltas {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.hits + self.misses + self.timed == 0
    }

    /// Adds other counter deltas to these.
    pub fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.timed += other.timed;
        self.timed_ms += other.timed_ms;
        self.owners.extend(other.owners);
    }
}

/// The outcome of a [`Group`].
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All of it is stored, now or before.
    Stored(Vec<Recorded>),
    /// None of it is stored: the message at `index` repeats an id of its conversation with another role, content, time or
    /// metadata, or is new while other parts under the same key are stored.
    Conflict {
        /// Its index in the group; one past the end if the key was used for more messages than these, or for a single one.
        index: usize,
        /// The conflicting id.
        id: ClientId,
    },
}

/// A message's position in the tables, and whether it was there before.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The message.
    pub id: MessageId,
    /// The id that the client sent, if it differs.
    pub external_id: Option<Arc<str>>,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its sequence in the conversation.
    pub sequence: u64,
    /// Step 2: whether it began the conversation.
    pub conversation_row: RowState,
    /// Step 5: whether it began its owner's usage row.
    pub usage_row: RowState,
    /// Step 4.
    pub embedding: EmbeddingState,
    /// Step 1: the list window after this message. `None` for a replayed message, which needs no append.
    pub window: Option<Window>,
    /// `Some` when the message was stored before: its current state in the list.
    pub replayed: Option<ListState>,
}

/// The conversation to read.
#[derive(Clone, Debug)]
pub enum ChatKey {
    /// The conversation of a guest.
    Guest(GuestId),
    /// A conversation by its id, whoever owns it.
    Conversation(ConversationId),
}

/// The messages of a conversation to read.
#[derive(Clone, Copy, Debug)]
pub struct PageRange {
    /// At most this many.
    pub limit: usize,
    /// The start and the direction.
    pub from: PageStart,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug)]
pub enum PageStart {
    /// At this sequence, going up.
    At(u64),
    /// Just below this sequence, going down; the page is still in ascending order.
    Below(u64),
}

/// A conversation and some of its messages, in sequence order.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The conversation.
    pub conversation: Conversation,
    /// The messages of the page.
    pub messages: Vec<Message>,
    /// The page's snapshot version; `None` if freshness cannot be determined without reading, because others write the same tables.
    pub version: Option<CacheVersion>,
}

/// The size of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageSize {
    /// Its sequence in the conversation.
    pub sequence: u64,
    /// Bytes of its content, its metadata and its client's id.
    pub bytes: usize,
}

impl From<&Message> for MessageSize {
    fn from(message: &Message) -> Self {
        let metadata = message.metadata.as_ref();
        let metadata = metadata.map_or(0, |metadata| metadata.as_str().len());
        let external_id = message.external_id.as_ref().map_or(0, |id| id.len());
        Self {
            sequence: message.sequence,
            bytes: message.content.as_str().len() + metadata + external_id,
        }
    }
}

/// Rows removed, per table.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Erased {
    /// Rows of `conversation_cache`.
    pub conversations: u64,
    /// Rows of `message_cache`.
    pub messages: u64,
    /// Rows of `cache_embeddings`.
    pub embeddings: u64,
    /// Rows of `usage_metrics`.
    pub usage: u64,
    /// Rows of `cache_content_mapping`.
    pub mappings: u64,
    /// Rows of `prompt_cache` in the guest's own scope.
    pub prompts: u64,
}

impl Erased {
    /// Adds another count to this one.
    pub fn add(&mut self, other: Self) {
        self.conversations += other.conversations;
        self.messages += other.messages;
        self.embeddings += other.embeddings;
        self.usage += other.usage;
        self.mappings += other.mappings;
        self.prompts += other.prompts;
    }
}

/// What a migration moved.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Migrated {
    /// Conversations that changed owner: 1, or 0 when the guest had none.
    pub conversations: u64,
    /// Messages in them.
    pub messages: u64,
}

/// The chats. Object-safe; share one as `Arc<dyn Chats>`.
#[async_trait]
pub trait Chats: std::fmt::Debug + Send + Sync {
    /// How many concurrent batches gain anything: 1 where one file has one writer.
    fn writers(&self) -> usize;

    /// Steps 2-7 of every message in one transaction; its commit is the acknowledgement. One outcome per group, in order.
    ///
    /// An error means that nothing of the batch is stored. Kind `Invalid` means that some message is at fault: bisect the batch
    /// to find it.
    async fn record(&self, batch: Arc<Batch>) -> Result<Vec<Outcome>>;

    /// A page of a conversation; `None` when there is none, or retention has ended it at `now`.
    async fn history(
        &self,
        chat: &ChatKey,
        page: PageRange,
        now: Timestamp,
    ) -> Result<Option<History>>;

    /// The sizes of a page's messages, in order of sequence, without reading their contents. Empty without a conversation.
    async fn message_sizes(
        &self,
        conversation: ConversationId,
        page: PageRange,
    ) -> Result<Vec<MessageSize>>;

    /// Whether no acknowledged write has changed a conversation since a page of it was read. Never waits, and is false where
    /// reading would be an error. Expiry by time alone is not considered, and foreign writes to a single-process file may take
    /// about a second to be seen.
    fn is_fresh(&self, version: &CacheVersion) -> bool;

    /// The conversations a signed-in user owns, newest first, older than `before`.
    async fn conversations(
        &self,
        owner: &OwnerId,
        before: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<Conversation>>;

    /// Removes every row of a guest, prompt cache entries of the guest's own scope included, in one transaction; the removal of
    /// the list becomes an outbox entry.
    async fn erase(&self, guest: &GuestId, at: Timestamp) -> Result<Erased>;

    /// Migrates a guest's chat to a user in one transaction: conversation, counters, mappings, a `cache_migrations` row, and an
    /// outbox entry to remove the list. Prompt cache entries of the guest's own scope are removed, even without a chat.
    async fn migrate(&self, guest: &GuestId, user: &OwnerId, at: Timestamp) -> Result<Migrated>;

    /// Writes the `cache_migrations` row of a migration that failed.
    async fn migration_failed(
        &self,
        guest: &GuestId,
        user: &OwnerId,
        at: Timestamp,
        cause: &str,
    ) -> Result<()>;

    /// Erases at most `limit` conversations that retention has ended at `now`; returns the rows removed.
    async fn expire(&self, now: Timestamp, limit: usize) -> Result<Erased>;
}
