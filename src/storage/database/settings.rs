//! Persisted settings: those that decide about shared data are stored with it, in `guestbook_meta`.
//!
//! Here are the keys, their values, and what holds where nothing was stored; a backend only reads and writes pairs of texts.

use super::TableSettings;
use async_trait::async_trait;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{ConversationId, GuestId, ModelId, Timestamp, Ttl};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Milliseconds.
const LIST_TTL: &str = "list_ttl_ms";
/// Milliseconds, or `off`.
const RETENTION: &str = "retention_ms";
/// `on` or `off`.
const TEXT_INDEX: &str = "text_index_wanted";
/// As in `cache_embeddings.embedding_model`, or `none`. Every version that stores settings stores this one.
const MODEL: &str = "model";
/// What opens the model, as a node takes it.
const EMBEDDER: &str = "embedder";
/// Goes up with each change, so that a node finds out by one number.
pub const SETTINGS_VERSION: &str = "settings_version";
/// When the life of the lists was changed last, in milliseconds since 1970.
pub const RETIMED_AT: &str = "list_ttl_changed_at";
/// How far the lists have been given their new life: empty before it has begun, else the last conversation; not there once
/// all have it.
pub const RETIMING: &str = "list_ttl_cursor";
/// The same for `--retention`, where the chats are given theirs in steps.
pub const RETAINING: &str = "retention_cursor";

/// The rows of `guestbook_meta`.
pub type Meta = BTreeMap<String, String>;

/// One of the settings that are stored with the data.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Persisted {
    /// `--list-ttl`
    ListTtl,
    /// `--retention`
    Retention,
    /// `--text-index`
    TextIndex,
    /// `--embedder`
    Embedder,
}

impl Persisted {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::ListTtl,
        Self::Retention,
        Self::TextIndex,
        Self::Embedder,
    ];

    /// As it is written, with `--` before it on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListTtl => "list-ttl",
            Self::Retention => "retention",
            Self::TextIndex => "text-index",
            Self::Embedder => "embedder",
        }
    }

    /// The key under which it is noted since when it holds, and by which version it was stored.
    fn since(self) -> String {
        format!("since:{}", self.as_str())
    }
}

/// Settings that decide about shared data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PersistedSettings {
    /// How long a list lives after its last message.
    pub list_ttl: Ttl,
    /// How long a guest's conversation is kept after its last message; `None` keeps it for ever.
    pub retention: Option<Duration>,
    /// Whether the words of all messages are kept in an index.
    pub text_index: bool,
    /// The model of the vectors, `none` without one.
    pub model: String,
    /// What opens that model, where it is known.
    pub embedder: Option<String>,
}

impl PersistedSettings {
    /// What serving with these settings stores.
    pub fn of(settings: &TableSettings) -> Self {
        let model = settings.model.as_ref();
        Self {
            list_ttl: settings.list_ttl,
            retention: settings.retention,
            text_index: settings.text_index,
            model: model.map_or_else(|| "none".to_owned(), ModelId::to_string),
            embedder: None,
        }
    }

    /// One of them, for a person; what can be given back is written as it is given.
    pub fn value(&self, which: Persisted) -> String {
        match which {
            Persisted::ListTtl => humantime::format_duration(self.list_ttl.0).to_string(),
            Persisted::Retention => self.retention.map_or_else(
                || "off".into(),
                |span| humantime::format_duration(span).to_string(),
            ),
            Persisted::TextIndex => on_or_off(self.text_index).into(),
            Persisted::Embedder => self.embedder.clone().unwrap_or_else(|| self.model.clone()),
        }
    }

    /// The first setting that is another here than there. Two ways to open one model are the same.
    pub fn differs(&self, other: &Self) -> Option<Persisted> {
        Persisted::ALL.into_iter().find(|which| match which {
            Persisted::ListTtl => self.list_ttl != other.list_ttl,
            Persisted::Retention => self.retention != other.retention,
            Persisted::TextIndex => self.text_index != other.text_index,
            Persisted::Embedder => self.model != other.model,
        })
    }
}

/// When a setting was stored and by which version; empty where it was not noted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SettingsSnapshot {
    /// RFC 3339.
    pub at: String,
    /// The version of Guestbook.
    pub by: String,
}

/// What is stored of the settings.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoredSettings {
    /// The settings; `None` where nobody has served these tables yet.
    pub held: Option<PersistedSettings>,
    /// Since when each holds.
    pub since: BTreeMap<Persisted, SettingsSnapshot>,
    /// Goes up with each change.
    pub version: u64,
    /// When the life of the lists was changed last. What was said before may have been listed by another one.
    pub retimed_at: Option<Timestamp>,
    /// How far the lists have been given their new life, while that is under way.
    pub retiming: Option<ListTtlChange>,
    /// Whether the chats are being given another retention.
    pub is_retaining: bool,
}

/// Lists are given another life, in the order of their conversations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListTtlChange {
    /// The last conversation that is done; `None` before the first.
    pub done: Option<ConversationId>,
}

impl StoredSettings {
    /// Whether chats or lists that are there are still being given what has changed.
    pub fn is_being_carried_out(&self) -> bool {
        self.retiming.is_some() || self.is_retaining
    }

    /// Reads what `guestbook_meta` has. Earlier versions did not note whether there is an index over words; the tables tell.
    pub fn read(meta: &Meta, has_text_index: bool) -> Self {
        let get = |key: &str| meta.get(key).map(String::as_str);
        let milliseconds = |key| get(key).and_then(|text| text.parse().ok());
        let list_ttl = milliseconds(LIST_TTL).map(Duration::from_millis);
        let held = get(MODEL).map(|model| PersistedSettings {
            // Earlier versions noted what differs from the default.
            list_ttl: list_ttl.map_or(Ttl::DEFAULT, Ttl),
            retention: milliseconds(RETENTION).map(Duration::from_millis),
            text_index: get(TEXT_INDEX).map_or(has_text_index, |text| text == "on"),
            model: model.to_owned(),
            embedder: get(EMBEDDER)
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
        });
        let cursor = |text: &str| text.parse().ok().map(ConversationId);
        Self {
            held,
            since: Persisted::ALL
                .into_iter()
                .map(|which| (which, since(get(&which.since()))))
                .collect(),
            version: milliseconds(SETTINGS_VERSION).unwrap_or(0),
            retimed_at: get(RETIMED_AT)
                .and_then(|text| text.parse().ok())
                .map(Timestamp::from_ms),
            retiming: get(RETIMING).map(|text| ListTtlChange { done: cursor(text) }),
            is_retaining: get(RETAINING).is_some(),
        }
    }

    /// The pairs to write so that `wanted` holds from `at` on; none where it does already.
    pub fn changes(&self, wanted: &PersistedSettings, at: Timestamp) -> Vec<(String, String)> {
        let held = self.held.as_ref();
        let mut pairs = Vec::new();
        let mut put = |key: &str, value: String| pairs.push((key.to_owned(), value));
        let note = |which: Persisted| {
            let version = env!("CARGO_PKG_VERSION");
            (which.since(), format!("{at} {version}"))
        };
        let is_other_life = held.is_none_or(|held| held.list_ttl != wanted.list_ttl);
        if is_other_life {
            put(LIST_TTL, wanted.list_ttl.0.as_millis().to_string());
        }
        // Versions that did not count changes stored another life without giving it to the lists that were there.
        if held.is_some() && (is_other_life || self.version == 0) {
            put(RETIMING, String::new());
        }
        if held.is_none_or(|held| held.retention != wanted.retention) {
            let span = wanted.retention.map(|span| span.as_millis().to_string());
            put(RETENTION, span.unwrap_or_else(|| "off".into()));
        }
        if held.is_none_or(|held| held.text_index != wanted.text_index) {
            put(TEXT_INDEX, on_or_off(wanted.text_index).into());
        }
        if held.is_none_or(|held| held.model != wanted.model) {
            put(MODEL, wanted.model.clone());
        }
        let embedder = wanted.embedder.as_ref();
        if let Some(spec) = embedder
            && held.and_then(|held| held.embedder.as_ref()) != Some(spec)
        {
            put(EMBEDDER, spec.clone());
        } else if embedder.is_none() && held.is_some_and(|held| held.model != wanted.model) {
            put(EMBEDDER, String::new()); // what opened the other model opens this one no longer
        }
        let changed = Persisted::ALL.into_iter().filter(|which| {
            held.is_none_or(|held| {
                let mut one = held.clone();
                one.set(*which, wanted);
                one != *held
            })
        });
        pairs.extend(changed.map(note));
        if !pairs.is_empty() {
            pairs.push((SETTINGS_VERSION.into(), (self.version + 1).to_string()));
        }
        pairs
    }
}

impl PersistedSettings {
    /// Takes one setting over.
    pub fn set(&mut self, which: Persisted, from: &Self) {
        match which {
            Persisted::ListTtl => self.list_ttl = from.list_ttl,
            Persisted::Retention => self.retention = from.retention,
            Persisted::TextIndex => self.text_index = from.text_index,
            Persisted::Embedder => {
                self.model.clone_from(&from.model);
                self.embedder.clone_from(&from.embedder);
            }
        }
    }
}

fn since(noted: Option<&str>) -> SettingsSnapshot {
    let (at, by) = noted
        .unwrap_or_default()
        .split_once(' ')
        .unwrap_or_default();
    SettingsSnapshot {
        at: at.to_owned(),
        by: by.to_owned(),
    }
}

fn on_or_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

impl fmt::Display for Persisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A node's setting differs from the one all nodes share.
pub fn refused(which: Persisted, told: &str, held: &str) -> Error {
    let variable = which.as_str().replace('-', "_").to_uppercase();
    let context = format!(
        "--{which} {told} (GUESTBOOK_{variable}) is not what is stored for all nodes of this database: {held}; leave it out, or \
         change it for all of them with `guestbook settings set {which} {told}`"
    );
    Error::new(ErrorKind::Conflict, "settings", "open", context)
}

/// A list that is to have another expiry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RescheduledLists {
    /// Whose list.
    pub guest: GuestId,
    /// The conversation it is a view of.
    pub conversation: ConversationId,
    /// The sequence after the newest message: a list that has gone on since has its new expiry already.
    pub next: u64,
    /// When it goes; this may have been long ago.
    pub expires_at: Timestamp,
}

/// Lists that are to have another expiry, ascending by conversation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReschedulePage {
    /// The lists. None are left after an empty page.
    pub lists: Vec<RescheduledLists>,
    /// When they were asked for. A list that had expired by then stays so.
    pub at: Timestamp,
    /// [`StoredSettings::version`] at that time. After another change this page is of no use any more.
    pub version: u64,
}

/// The settings that are stored with the data, and what a change of them sets in motion.
#[async_trait]
pub trait SettingsStore: fmt::Debug + Send + Sync {
    /// What is stored.
    async fn stored_settings(&self) -> Result<StoredSettings>;

    /// Stores one setting, taken from `wanted`. It holds at once for what this process writes and for all that other processes
    /// write later.
    async fn change_setting(
        &self,
        which: Persisted,
        wanted: PersistedSettings,
        at: Timestamp,
    ) -> Result<()>;

    /// What others have changed holds for this process from now on; what is stored. `None` where nobody else can change it.
    async fn refresh_settings(&self) -> Result<Option<StoredSettings>>;

    /// Gives some chats the retention that is stored, at most `limit`; whether any are left.
    async fn retain_some(&self, limit: usize) -> Result<bool>;

    /// The next lists that are to have the life that is stored, at most `limit`, an empty page at the end; `None` where all have
    /// it. Nothing is changed by asking: the list store is told before [`Self::note_retimed`], so that a process which ends in
    /// between is followed by one that does the same again.
    async fn lists_to_retime(&self, now: Timestamp, limit: usize)
    -> Result<Option<ReschedulePage>>;

    /// Gives the rows of these lists their expiry, and notes that they are done; after an empty page, that all are.
    async fn note_retimed(&self, page: ReschedulePage) -> Result<()>;
}
