//! A worked-out batch as columns: one array for each column of each table, which is how a set travels in one statement.

use super::rows::{int, moment, without_nul};
use super::session::{Statement, statement};
use super::{PostgresDatabase, sql};
use chrono::{DateTime, Utc};
use guestbook_core::ClientId;
use guestbook_storage::conversation_state::ConversationState;
use guestbook_storage::database::{
    Batch, CounterDeltas, Embedding, Entry, Recorded, TableSettings,
};
use guestbook_storage::plan::BatchPlan;
use uuid::Uuid;

/// Everything that a batch writes.
#[derive(Debug, Default)]
pub(super) struct BatchColumns<'a> {
    at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    model: String,
    cache_backend: &'static str,
    new: ConversationColumns,
    /// Whose the new chats are.
    guests: Vec<String>,
    updated: ConversationColumns,
    expired: ExpiredListColumns,
    pub(super) messages: MessageColumns<'a>,
    vectors: VectorColumns,
    notes: EmbeddingNoteColumns,
    usage: UsageColumns,
    times: ResponseTimeColumns,
    metrics: MetricsColumns,
}

/// Rows of `conversation_cache`.
#[derive(Debug, Default)]
struct ConversationColumns {
    ids: Vec<String>,
    titles: Vec<String>,
    hashes: Vec<String>,
    counts: Vec<i64>,
    tokens: Vec<i64>,
    list_from: Vec<i64>,
    list_expires_at: Vec<Option<DateTime<Utc>>>,
}

impl ConversationColumns {
    fn add(&mut self, chat: &ConversationState) {
        self.ids.push(chat.id.to_string());
        self.titles.push(chat.title.clone());
        self.hashes.push(chat.hash.to_hex());
        self.counts.push(int(chat.message_count));
        self.tokens.push(int(chat.total_tokens));
        self.list_from
            .push(int(chat.window.map_or(0, |window| window.from)));
        let expires_at = chat.window.map(|window| moment(window.expires_at));
        self.list_expires_at.push(expires_at);
    }
}

/// Conversations whose list began anew, and where: what is below has left the list.
#[derive(Debug, Default)]
struct ExpiredListColumns {
    ids: Vec<String>,
    below: Vec<i64>,
}

/// Rows of `message_cache`, and of `cache_content_mapping`.
#[derive(Debug, Default)]
pub(super) struct MessageColumns<'a> {
    pub(super) ids: Vec<String>,
    pub(super) conversations: Vec<String>,
    pub(super) sequences: Vec<i64>,
    guests: Vec<&'a str>,
    roles: Vec<&'static str>,
    contents: Vec<&'a str>,
    pub(super) hashes: Vec<String>,
    /// Whether the id is of our own making.
    pub(super) is_ours: Vec<bool>,
    tokens: Vec<i64>,
    metadata: Vec<Option<&'a str>>,
    external_ids: Vec<Option<String>>,
    sent_at: Vec<DateTime<Utc>>,
}

impl<'a> MessageColumns<'a> {
    fn add(&mut self, entry: &'a Entry, recorded: &Recorded) {
        let message = &entry.message;
        let own = recorded.id;
        self.ids.push(own.to_string());
        self.external_ids
            .push(recorded.external_id.as_deref().map(str::to_owned));
        self.conversations.push(recorded.conversation.to_string());
        self.sequences.push(int(recorded.sequence));
        self.guests.push(message.guest.as_str());
        self.roles.push(message.role.as_str());
        self.contents.push(message.content.as_str());
        self.hashes.push(message.hash.to_hex());
        let wanted = message.client_id.as_ref().and_then(ClientId::wanted);
        self.is_ours.push(wanted != Some(own));
        self.tokens.push(int(message.tokens));
        self.metadata
            .push(message.metadata.as_ref().map(|metadata| metadata.as_str()));
        self.sent_at.push(moment(message.sent_at));
    }
}

/// Rows of `cache_embeddings`.
#[derive(Debug, Default)]
struct VectorColumns {
    ids: Vec<String>,
    conversations: Vec<String>,
    bytes: Vec<Vec<u8>>,
}

/// Rows of `embedding_notes`.
#[derive(Debug, Default)]
struct EmbeddingNoteColumns {
    ids: Vec<String>,
    states: Vec<&'static str>,
    attempts: Vec<i64>,
    causes: Vec<String>,
}

/// What is added to `usage_metrics`, ascending by owner.
#[derive(Debug, Default)]
struct UsageColumns {
    ids: Vec<String>,
    owners: Vec<String>,
    requests: Vec<i64>,
    input: Vec<i64>,
    output: Vec<i64>,
}

/// Response times that ride along.
#[derive(Debug, Default)]
struct ResponseTimeColumns {
    owners: Vec<String>,
    requests: Vec<i64>,
    total_ms: Vec<f64>,
}

/// What is added to the hour.
#[derive(Debug, Default)]
pub(super) struct MetricsColumns {
    id: String,
    hour: DateTime<Utc>,
    part: i32,
    entries: i64,
    hits: i64,
    misses: i64,
    timed: i64,
    timed_ms: f64,
    megabytes: f64,
}

impl MetricsColumns {
    /// `stored` messages and what the counter deltas hold.
    pub(super) fn of(
        database: &PostgresDatabase,
        at: guestbook_core::Timestamp,
        stored: i64,
        deltas: &CounterDeltas,
    ) -> Self {
        Self {
            id: Uuid::now_v7().to_string(),
            hour: moment(at.hour()),
            part: database.part(),
            entries: stored,
            hits: int(deltas.hits),
            misses: stored + int(deltas.misses),
            timed: int(deltas.timed),
            timed_ms: deltas.timed_ms,
            megabytes: database.megabytes(),
        }
    }

    /// The part of the hour's row that it adds to.
    pub(super) fn part(&self) -> i32 {
        self.part
    }

    fn is_something(&self) -> bool {
        self.entries != 0 || self.hits + self.misses + self.timed != 0
    }

    pub(super) fn statement(&self) -> Statement<'_> {
        statement!(sql::METRICS_ADD; self.id => TEXT, self.hour => TIMESTAMPTZ, self.part => INT4,
            self.entries => INT8, self.hits => INT8, self.misses => INT8, self.timed => INT8,
            self.timed_ms => FLOAT8, self.megabytes => FLOAT8)
    }
}

impl ResponseTimeColumns {
    fn of(deltas: &CounterDeltas) -> Self {
        let mut times = Self::default();
        for time in &deltas.owners {
            times.owners.push(time.owner.as_str().to_owned());
            times.requests.push(int(time.requests));
            times.total_ms.push(time.total_ms);
        }
        times
    }

    fn statement(&self) -> Statement<'_> {
        statement!(sql::USAGE_TIME;
            self.owners => TEXT_ARRAY, self.requests => INT8_ARRAY, self.total_ms => FLOAT8_ARRAY)
    }
}

/// What rides along when no batch is there to carry it.
#[derive(Debug)]
pub(super) struct DeferredCounters {
    times: ResponseTimeColumns,
    metrics: Option<MetricsColumns>,
}

impl DeferredCounters {
    pub(super) fn of(
        database: &PostgresDatabase,
        deltas: &CounterDeltas,
        at: guestbook_core::Timestamp,
    ) -> Self {
        Self {
            times: ResponseTimeColumns::of(deltas),
            metrics: (!deltas.is_empty()).then(|| MetricsColumns::of(database, at, 0, deltas)),
        }
    }

    pub(super) fn add<'a>(&'a self, statements: &mut Vec<Statement<'a>>) {
        if !self.times.owners.is_empty() {
            statements.push(statement!(sql::USAGE_LOCK; self.times.owners => TEXT_ARRAY));
            statements.push(self.times.statement());
        }
        statements.extend(self.metrics.as_ref().map(MetricsColumns::statement));
    }
}

impl<'a> BatchColumns<'a> {
    pub(super) fn of(
        database: &PostgresDatabase,
        settings: &TableSettings,
        plan: &BatchPlan<'a>,
        batch: &Batch,
    ) -> Self {
        let retention = settings.retention;
        let mut columns = Self {
            at: moment(batch.at),
            expires_at: retention.map(|span| moment(batch.at.plus(span))),
            model: settings
                .model
                .as_ref()
                .map_or("", |model| model.as_str())
                .to_owned(),
            cache_backend: settings.cache_backend,
            times: ResponseTimeColumns::of(&batch.deltas),
            metrics: MetricsColumns::of(
                database,
                batch.at,
                int(plan.new_count as u64),
                &batch.deltas,
            ),
            ..Self::default()
        };
        for (entry, recorded) in plan.new_messages() {
            columns.messages.add(entry, recorded);
            if settings.model.is_some() {
                columns.add_vector(entry, recorded);
            }
        }
        let mut chats: Vec<_> = plan.changed().collect();
        chats.sort_unstable_by_key(|chat| &chat.guest); // the order in which rows are locked
        for chat in chats {
            columns.add_chat(chat);
        }
        columns
    }

    fn add_vector(&mut self, entry: &Entry, recorded: &Recorded) {
        let (attempts, cause) = match &entry.embedding {
            Embedding::Vector(vector) => {
                self.vectors.ids.push(recorded.id.to_string());
                self.vectors
                    .conversations
                    .push(recorded.conversation.to_string());
                self.vectors.bytes.push(vector.to_bytes());
                return;
            }
            Embedding::Off => return,
            Embedding::Failed(cause) => (1, cause.as_str()),
            Embedding::Nothing => (1, ""),
            Embedding::Pending => (0, ""),
        };
        self.notes.ids.push(recorded.id.to_string());
        self.notes.states.push(entry.embedding.state().as_str());
        self.notes.attempts.push(attempts);
        self.notes.causes.push(without_nul(cause));
    }

    fn add_chat(&mut self, chat: &ConversationState) {
        if chat.is_new {
            self.guests.push(chat.guest.as_str().to_owned());
            self.new.add(chat);
        } else {
            self.updated.add(chat);
        }
        if chat.expired {
            self.expired.ids.push(chat.id.to_string());
            self.expired
                .below
                .push(int(chat.window.map_or(0, |window| window.from)));
        }
        let counted = &chat.counted;
        self.usage.ids.push(Uuid::now_v7().to_string());
        self.usage.owners.push(chat.guest.as_str().to_owned());
        self.usage.requests.push(int(counted.total_requests));
        self.usage.input.push(int(counted.total_input_tokens));
        self.usage.output.push(int(counted.total_output_tokens));
    }

    /// Everything in the order in which it must happen; the answer about usage rows comes first.
    pub(super) fn statements(&self) -> Vec<Statement<'_>> {
        let mut all = Vec::with_capacity(2);
        if !self.messages.ids.is_empty() {
            all.push(self.record());
        } else if !self.times.owners.is_empty() {
            all.push(statement!(sql::USAGE_LOCK; self.times.owners => TEXT_ARRAY));
            all.push(self.times.statement());
        }
        if self.metrics.is_something() {
            all.push(self.metrics.statement()); // the last, because it may make others wait until the commit
        }
        all
    }

    fn record(&self) -> Statement<'_> {
        let (new, updated, expired) = (&self.new, &self.updated, &self.expired);
        let (messages, vectors, notes) = (&self.messages, &self.vectors, &self.notes);
        let (usage, times) = (&self.usage, &self.times);
        statement!(sql::RECORD;
            self.at => TIMESTAMPTZ, self.expires_at => TIMESTAMPTZ, self.cache_backend => TEXT, self.model => TEXT,
            new.ids => TEXT_ARRAY, self.guests => TEXT_ARRAY, new.titles => TEXT_ARRAY,
            new.hashes => TEXT_ARRAY, new.counts => INT8_ARRAY, new.tokens => INT8_ARRAY,
            new.list_from => INT8_ARRAY, new.list_expires_at => TIMESTAMPTZ_ARRAY,
            updated.ids => TEXT_ARRAY, updated.titles => TEXT_ARRAY, updated.hashes => TEXT_ARRAY,
            updated.counts => INT8_ARRAY, updated.tokens => INT8_ARRAY, updated.list_from => INT8_ARRAY,
            updated.list_expires_at => TIMESTAMPTZ_ARRAY,
            expired.ids => TEXT_ARRAY, expired.below => INT8_ARRAY,
            messages.ids => TEXT_ARRAY, messages.conversations => TEXT_ARRAY, messages.guests => TEXT_ARRAY,
            messages.roles => TEXT_ARRAY, messages.contents => TEXT_ARRAY, messages.hashes => TEXT_ARRAY,
            messages.tokens => INT8_ARRAY, messages.sequences => INT8_ARRAY, messages.metadata => TEXT_ARRAY,
            messages.sent_at => TIMESTAMPTZ_ARRAY,
            vectors.ids => TEXT_ARRAY, vectors.conversations => TEXT_ARRAY, vectors.bytes => BYTEA_ARRAY,
            notes.ids => TEXT_ARRAY, notes.states => TEXT_ARRAY, notes.attempts => INT8_ARRAY,
            notes.causes => TEXT_ARRAY,
            usage.ids => TEXT_ARRAY, usage.owners => TEXT_ARRAY, usage.requests => INT8_ARRAY,
            usage.input => INT8_ARRAY, usage.output => INT8_ARRAY,
            times.owners => TEXT_ARRAY, times.requests => INT8_ARRAY, times.total_ms => FLOAT8_ARRAY,
            messages.external_ids => TEXT_ARRAY)
    }
}
