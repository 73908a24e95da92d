//! The settings that all nodes share, in `guestbook_meta`. No node writes under outdated settings: a batch takes a shared lock that
//! a change takes exclusively, and is rolled back if its settings are outdated. A node detects other changes within a second, by
//! polling.

use super::error::{Attempt, PostgresFault};
use super::outbox::{cursor, guest};
use super::rows::{count, id, limit as rows_limit, moment, text, time};
use super::session::{BeginMode, EndMode, PooledConnection, Statement, statement};
use super::{PostgresDatabase, PostgresUrl, pool, session, sql, text as words};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{Clock, ConversationId, SystemClock, Timestamp, Ttl};
use guestbook_storage::database::settings::{
    Meta, RETAINING, RETIMED_AT, RETIMING, SETTINGS_VERSION,
};
use guestbook_storage::database::{
    Persisted, PersistedSettings, ReschedulePage, RescheduledLists, SettingsStore, StoredSettings,
    TableSettings, refused,
};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio_postgres::Row;

/// The settings that a node writes under.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) tables: TableSettings,
    /// Their version.
    pub(super) version: u64,
}

/// What a node does whose settings differ from the stored ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Other {
    /// It stores its own.
    Change,
    /// It refuses to start.
    Refuse,
}

/// The settings stored in a database, which may be empty.
///
/// # Errors
/// Those of the server.
pub async fn stored_settings(url: &PostgresUrl) -> Result<StoredSettings> {
    let fault = |fault: PostgresFault| fault.into_error("settings");
    let pool = pool(url, 1)?;
    let mut session = session(&pool).await.map_err(fault)?;
    let statements = [statement!(sql::HAS_META)];
    let rows = session
        .transact(BeginMode::Read, &statements, EndMode::Open)
        .await;
    let rows = rows.map_err(fault)?;
    let is_there = rows[0].first().and_then(|row| row.try_get(0).ok());
    let found = match is_there {
        Some(true) => {
            let rows = session
                .go_on(&ask(), EndMode::Commit)
                .await
                .map_err(fault)?;
            stored(&rows).map_err(fault)?
        }
        _ => StoredSettings::default(),
    };
    Ok(found)
}

fn ask() -> [Statement<'static>; 2] {
    [statement!(sql::META_ALL), statement!(sql::TEXT_IS_THERE)]
}

/// From the rows of [`ask`].
fn stored(rows: &[Vec<Row>]) -> Attempt<StoredSettings> {
    let pair = |row| Ok((text(row, 0)?.to_owned(), text(row, 1)?.to_owned()));
    let meta: Attempt<Meta> = rows[0].iter().map(pair).collect();
    let has_text_index = match rows[1].first() {
        Some(row) => super::rows::get(row, 0)?,
        None => false,
    };
    Ok(StoredSettings::read(&meta?, has_text_index))
}

/// Stores the settings of a starting node, if none are stored or it may change them; returns the effective ones.
pub(super) async fn note(
    mut session: PooledConnection,
    settings: &TableSettings,
    others: Other,
) -> Result<Held> {
    let fault = |fault: PostgresFault| fault.into_error("open");
    // The lock first: nobody changes what is read after it.
    let lock = [statement!(sql::SCHEMA_LOCK)];
    let locked = session
        .transact(BeginMode::LongWrite, &lock, EndMode::Open)
        .await;
    locked.map_err(fault)?;
    let rows = session.go_on(&ask(), EndMode::Open).await;
    let stored = stored(&rows.map_err(fault)?).map_err(fault)?;
    let wanted = PersistedSettings::of(settings);
    if let (Other::Refuse, Some(held)) = (others, &stored.held)
        && let Some(which) = wanted.differs(held)
    {
        session.roll_back().await;
        return Err(refused(which, &wanted.value(which), &held.value(which)));
    }
    let pairs = stored.changes(&wanted, SystemClock.now());
    let held = stored.held.as_ref();
    let is_retained = held.is_some_and(|held| held.retention == wanted.retention);
    let seconds = wanted.retention.map(|span| span.as_secs_f64());
    let mut changes = Vec::new();
    if !pairs.is_empty() {
        changes.push(statement!(sql::SETTINGS_LOCK));
    }
    if !is_retained {
        changes.push(match &seconds {
            Some(seconds) => statement!(sql::RETAIN; *seconds => FLOAT8),
            None => statement!(sql::RETAIN_FOREVER),
        });
    }
    changes.extend(pairs.iter().map(put));
    let done = session.go_on(&changes, EndMode::Commit).await;
    done.map_err(fault)?;
    Ok(Held {
        tables: settings.clone(),
        version: stored.version + u64::from(!pairs.is_empty()),
    })
}

fn put((key, value): &(String, String)) -> Statement<'_> {
    statement!(sql::META_PUT; *key => TEXT, *value => TEXT)
}

/// The statements that keep the settings unchanged during a batch; see [`check`].
pub(super) fn share() -> [Statement<'static>; 2] {
    [
        statement!(sql::SETTINGS_SHARE),
        statement!(sql::META_GET; SETTINGS_VERSION => TEXT),
    ]
}

/// Fails unless the batch was planned under the current settings, by the rows of [`share`].
pub(super) fn check(rows: &[Vec<Row>], held: &Held) -> Attempt<()> {
    let stored = rows[1].first().map(|row| text(row, 0)).transpose()?;
    match stored.map_or(Ok(0), str::parse) {
        Ok(version) if version == held.version => Ok(()),
        _ => Err(PostgresFault::Settings),
    }
}

impl PostgresDatabase {
    /// The settings that this node currently writes under.
    pub(super) fn held(&self) -> Arc<Held> {
        let held = self.0.settings.read();
        Arc::clone(&held.unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn hold(&self, held: Held) {
        let mut mine = self
            .0
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if mine.version != held.version {
            self.0.known.forget(); // their windows are of another TTL
        }
        *mine = Arc::new(held);
    }

    /// Adopts the stored settings.
    pub(super) async fn take_over(&self) -> Result<StoredSettings> {
        let rows = self.read("settings", &ask()).await?;
        let stored = stored(&rows).map_err(|fault| fault.into_error("settings"))?;
        let mine = self.held();
        if stored.version != mine.version
            && let Some(held) = &stored.held
        {
            self.hold(Held {
                tables: TableSettings {
                    list_ttl: held.list_ttl,
                    retention: held.retention,
                    text_index: held.text_index,
                    ..mine.tables.clone()
                },
                version: stored.version,
            });
            tracing::info!(
                version = stored.version,
                list_ttl = held.value(Persisted::ListTtl),
                retention = held.value(Persisted::Retention),
                text_index = held.value(Persisted::TextIndex),
                embedder = held.value(Persisted::Embedder),
                "the settings of all nodes were changed"
            );
        }
        Ok(stored)
    }

    async fn change(
        &self,
        which: Persisted,
        wanted: &PersistedSettings,
        at: Timestamp,
    ) -> Attempt<()> {
        let mut session = self.session().await?;
        let lock = [statement!(sql::SETTINGS_LOCK)];
        session
            .transact(BeginMode::LongWrite, &lock, EndMode::Open)
            .await?;
        let stored = stored(&session.go_on(&ask(), EndMode::Open).await?)?;
        let mut changed = stored
            .held
            .clone()
            .unwrap_or_else(|| PersistedSettings::of(&self.held().tables));
        changed.set(which, wanted);
        let mut pairs = stored.changes(&changed, at);
        if which == Persisted::Retention && !pairs.is_empty() {
            pairs.push((RETAINING.into(), String::new()));
        }
        let changes: Vec<_> = pairs.iter().map(put).collect();
        session.go_on(&changes, EndMode::Commit).await?;
        Ok(())
    }

    async fn retain(&self, limit: usize) -> Attempt<bool> {
        let mut session = self.session().await?;
        let share = [statement!(sql::SETTINGS_SHARE)];
        session
            .transact(BeginMode::Write, &share, EndMode::Open)
            .await?;
        let [meta, text_index] = ask();
        let done = statement!(sql::META_GET; RETAINING => TEXT);
        let statements = [meta, text_index, done];
        let rows = session.go_on(&statements, EndMode::Open).await?;
        let stored = stored(&rows)?;
        let (Some(held), Some(row)) = (stored.held, rows[2].first()) else {
            session.go_on(&[], EndMode::Commit).await?;
            return Ok(false);
        };
        let (after, limit) = (text(row, 0)?.to_owned(), rows_limit(limit));
        let seconds = held.retention.map(|span| span.as_secs_f64());
        let page = [statement!(sql::RETAIN_SOME; after => TEXT, limit => INT8, seconds => FLOAT8)];
        let rows = session.go_on(&page, EndMode::Open).await?;
        let row = rows[0]
            .first()
            .ok_or(PostgresFault::Row("no page".into()))?;
        let last: Option<String> = super::rows::get(row, 0)?;
        let is_last = count(row, 1)? < limit.unsigned_abs();
        let noted = match &last {
            Some(last) if !is_last => statement!(sql::META_PUT; RETAINING => TEXT, *last => TEXT),
            _ => statement!(sql::META_DELETE; RETAINING => TEXT),
        };
        session.go_on(&[noted], EndMode::Commit).await?;
        Ok(!is_last)
    }

    async fn retime(&self, page: &ReschedulePage) -> Attempt<()> {
        let mut session = self.session().await?;
        let share = [statement!(sql::SETTINGS_SHARE)];
        session
            .transact(BeginMode::Write, &share, EndMode::Open)
            .await?;
        let stored = stored(&session.go_on(&ask(), EndMode::Open).await?)?;
        if stored.version != page.version {
            session.go_on(&[], EndMode::Commit).await?;
            return Ok(());
        }
        let ttl = stored.held.map_or(Ttl::DEFAULT, |held| held.list_ttl);
        let ids: Vec<_> = page
            .lists
            .iter()
            .map(|list| list.conversation.to_string())
            .collect();
        let (at, seconds) = (moment(page.at), ttl.0.as_secs_f64());
        let milliseconds = page.at.ms().to_string();
        let mut changes = vec![
            statement!(sql::LISTS_RETIME; ids => TEXT_ARRAY, at => TIMESTAMPTZ, seconds => FLOAT8),
            statement!(sql::META_PUT; RETIMED_AT => TEXT, milliseconds => TEXT),
        ];
        changes.push(match ids.last() {
            Some(last) => statement!(sql::META_PUT; RETIMING => TEXT, *last => TEXT),
            None => statement!(sql::META_DELETE; RETIMING => TEXT),
        });
        session.go_on(&changes, EndMode::Commit).await?;
        Ok(())
    }
}

#[async_trait]
impl SettingsStore for PostgresDatabase {
    async fn stored_settings(&self) -> Result<StoredSettings> {
        let rows = self.read("settings", &ask()).await?;
        stored(&rows).map_err(|fault| fault.into_error("settings"))
    }

    async fn change_setting(
        &self,
        which: Persisted,
        wanted: PersistedSettings,
        at: Timestamp,
    ) -> Result<()> {
        let fault = |fault: PostgresFault| fault.into_error("settings");
        self.change(which, &wanted, at).await.map_err(fault)?;
        if which == Persisted::TextIndex {
            let session = self.session().await.map_err(fault)?;
            words::apply_wanted(session, wanted.text_index).await?;
        }
        self.take_over().await.map(drop)
    }

    async fn refresh_settings(&self) -> Result<Option<StoredSettings>> {
        self.take_over().await.map(Some)
    }

    async fn retain_some(&self, limit: usize) -> Result<bool> {
        let retained = self.retain(limit).await;
        retained.map_err(|fault| fault.into_error("retain_some"))
    }

    async fn lists_to_retime(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Option<ReschedulePage>> {
        let stored = self.stored_settings().await?;
        let (Some(retiming), Some(held)) = (stored.retiming, stored.held) else {
            return Ok(None);
        };
        let (after, at, limit) = (cursor(retiming.done), moment(now), rows_limit(limit));
        let statements =
            [statement!(sql::LISTS_TO_RETIME; after => TEXT, at => TIMESTAMPTZ, limit => INT8)];
        let rows = self.read("lists_to_retime", &statements).await?;
        let lists: Attempt<_> = rows[0]
            .iter()
            .map(|row| retimed(row, held.list_ttl.0))
            .collect();
        let lists = lists.map_err(|fault| fault.into_error("lists_to_retime"))?;
        Ok(Some(ReschedulePage {
            lists,
            at: now,
            version: stored.version,
        }))
    }

    async fn note_retimed(&self, page: ReschedulePage) -> Result<()> {
        let noted = self.retime(&page).await;
        noted.map_err(|fault| fault.into_error("note_retimed"))
    }
}

fn retimed(row: &Row, ttl: Duration) -> Attempt<RescheduledLists> {
    Ok(RescheduledLists {
        guest: guest(row, 0)?,
        conversation: ConversationId(id(row, 1)?),
        next: count(row, 2)?,
        expires_at: time(row, 3)?.plus(ttl),
    })
}
