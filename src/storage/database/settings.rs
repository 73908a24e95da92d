//! Persisted settings: those that decide about shared data are stored with it, in `guestbook_meta`.
//!
//! This module has the keys, their values and the defaults; a backend only reads and writes pairs of texts.

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
/// The `--embedder` value that opens the model.
const EMBEDDER: &str = "embedder";
/// Incremented with each change, so that nodes detect it by one number.
pub const SETTINGS_VERSION: &str = "settings_version";
/// When the list TTL was changed last, in milliseconds since 1970.
pub const RETIMED_AT: &str = "list_ttl_changed_at";
/// The cursor of a change of the list TTL: empty before it has begun, else the last conversation done; absent once all are.
pub const RETIMING: &str = "list_ttl_cursor";
/// The same for a change of `--retention`.
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

    /// Its name on the command line, without `--`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListTtl => "list-ttl",
            Self::Retention => "retention",
            Self::TextIndex => "text-index",
            Self::Embedder => "embedder",
        }
    }

    /// The key that records when the setting was stored, and by which version.
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
    /// Whether a full-text index over all messages is kept.
    pub text_index: bool,
    /// The model of the vectors, `none` without one.
    pub model: String,
    /// The `--embedder` value that opens that model, if known.
    pub embedder: Option<String>,
}

impl PersistedSettings {
    /// The settings that serving with `settings` stores.
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

    /// The value of one setting, for a person; in the syntax of the command line where it has one.
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

    /// The first setting that differs. Two ways to open one model are equal.
    pub fn differs(&self, other: &Self) -> Option<Persisted> {
        Persisted::ALL.into_iter().find(|which| match which {
            Persisted::ListTtl => self.list_ttl != other.list_ttl,
            Persisted::Retention => self.retention != other.retention,
            Persisted::TextIndex => self.text_index != other.text_index,
            Persisted::Embedder => self.model != other.model,
        })
    }
}

/// When a setting was stored, and by which version; empty if not recorded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SettingsSnapshot {
    /// RFC 3339.
    pub at: String,
    /// The version of Guestbook.
    pub by: String,
}

/// The settings as stored.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoredSettings {
    /// The settings; `None` if these tables were never served.
    pub held: Option<PersistedSettings>,
    /// When each was stored.
    pub since: BTreeMap<Persisted, SettingsSnapshot>,
    /// Incremented with each change.
    pub version: u64,
    /// When the list TTL was changed last. Earlier messages may have been listed under another TTL.
    pub retimed_at: Option<Timestamp>,
    /// The progress of a change of the list TTL, while it is applied.
    pub retiming: Option<ListTtlChange>,
    /// Whether a change of the retention is being applied.
    pub is_retaining: bool,
}

/// A change of the list TTL, applied in the order of the conversations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListTtlChange {
    /// The last conversation done; `None` before the first.
    pub done: Option<ConversationId>,
}

impl StoredSettings {
    /// Whether a change is still being applied to existing chats or lists.
    pub fn is_being_carried_out(&self) -> bool {
        self.retiming.is_some() || self.is_retaining
    }

    /// Reads the rows of `guestbook_meta`. Earlier versions did not record the full-text index; the tables show it.
    pub fn read(meta: &Meta, has_text_index: bool) -> Self {
        let get = |key: &str| meta.get(key).map(String::as_str);
        let milliseconds = |key| get(key).and_then(|text| text.parse().ok());
        let list_ttl = milliseconds(LIST_TTL).map(Duration::from_millis);
        let held = get(MODEL).map(|model| PersistedSettings {
            // Earlier versions stored only what differs from the default.
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

    /// The pairs to write so that `wanted` holds from `at` on; empty if it does already.
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
        // Versions that did not count changes stored another TTL without applying it to existing lists.
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
            put(EMBEDDER, String::new()); // the other model's spec does not open this one
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
    /// Copies one setting.
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

/// The error when a node's setting differs from the one all nodes share.
pub fn refused(which: Persisted, requested: &str, stored: &str) -> Error {
    let variable = which.as_str().replace('-', "_").to_uppercase();
    let context = format!(
        "--{which} {requested} (GUESTBOOK_{variable}) is not what is stored for all nodes of this database: {stored}; leave it out, or \
         change it for all of them with `guestbook settings set {which} {requested}`"
    );
    Error::new(ErrorKind::Conflict, "settings", "open", context)
}

/// A list that gets another expiry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RescheduledLists {
    /// The list's guest.
    pub guest: GuestId,
    /// The conversation it is a view of.
    pub conversation: ConversationId,
    /// The sequence after the newest message: a list with newer items has its new expiry already.
    pub next: u64,
    /// The new expiry; possibly long past.
    pub expires_at: Timestamp,
}

/// Lists that get another expiry, ascending by conversation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReschedulePage {
    /// The lists. An empty page is the last.
    pub lists: Vec<RescheduledLists>,
    /// When the page was read. A list that had expired by then stays so.
    pub at: Timestamp,
    /// [`StoredSettings::version`] at that time. Another change makes this page stale.
    pub version: u64,
}

/// The settings stored with the data, and the application of their changes.
#[async_trait]
pub trait SettingsStore: fmt::Debug + Send + Sync {
    /// The settings as stored.
    async fn stored_settings(&self) -> Result<StoredSettings>;

    /// Stores one setting, taken from `wanted`. It holds at once for this process's writes, and for all later writes of other
    /// processes.
    async fn change_setting(
        &self,
        which: Persisted,
        wanted: PersistedSettings,
        at: Timestamp,
    ) -> Result<()>;

    /// Adopts the changes of other nodes, and returns the stored settings. `None` if no other node can change them.
    async fn refresh_settings(&self) -> Result<Option<StoredSettings>>;

    /// Applies the stored retention to at most `limit` chats; returns whether any are left.
    async fn retain_some(&self, limit: usize) -> Result<bool>;

    /// The next lists to get the stored TTL, at most `limit`, an empty page at the end; `None` once all have it. A read: the
    /// list store is updated before [`Self::note_retimed`], so that after a crash in between the next process repeats the page.
    async fn lists_to_retime(&self, now: Timestamp, limit: usize)
    -> Result<Option<ReschedulePage>>;

    /// Sets the expiry in the rows of these lists, and advances the cursor; an empty page ends the change.
    async fn note_retimed(&self, page: ReschedulePage) -> Result<()>;
}
