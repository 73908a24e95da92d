//! The settings stored with the tables, and applying their changes to existing rows.

use super::error::convert;
use super::outbox::{cursor, guest};
use super::rows::{Id, Time};
use super::{SqliteDatabase, Writer, open, sql, text};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{Clock, ConversationId, SystemClock, Timestamp, Ttl};
use guestbook_storage::database::settings::{Meta, RETIMED_AT, RETIMING};
use guestbook_storage::database::{
    Persisted, PersistedSettings, ReschedulePage, RescheduledLists, SettingsStore, StoredSettings,
    TableSettings,
};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(super) fn read(connection: &Connection) -> rusqlite::Result<StoredSettings> {
    let mut select = connection.prepare(sql::META_ALL)?;
    let pairs = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let meta: Meta = pairs.collect::<rusqlite::Result<_>>()?;
    Ok(StoredSettings::read(
        &meta,
        meta.contains_key(text::FORM_KEY),
    ))
}

/// The settings stored in a file, also while a server uses it.
///
/// # Errors
/// Those of opening it.
pub fn stored_settings(path: &Path) -> Result<StoredSettings> {
    let run = |connection: &Connection| {
        if !connection.query_row(sql::HAS_META, [], |row| row.get(0))? {
            return Ok(StoredSettings::default());
        }
        read(connection)
    };
    run(&open::reader(path)?).map_err(convert("settings"))
}

/// Stores these settings, unless they are stored already.
pub(super) fn note(connection: &mut Connection, settings: &TableSettings) -> Result<()> {
    let run = |connection: &mut Connection| {
        let wanted = PersistedSettings::of(settings);
        if read(connection)?
            .changes(&wanted, Timestamp::default())
            .is_empty()
        {
            return Ok(()); // a full disk has no room for a transaction
        }
        let tx = connection.transaction()?;
        store(&tx, &wanted, SystemClock.now())?;
        tx.commit()
    };
    run(connection).map_err(convert("open"))
}

/// Stores settings; a changed retention is applied to the chats at once, a changed list TTL step by step.
fn store(tx: &Transaction<'_>, wanted: &PersistedSettings, at: Timestamp) -> rusqlite::Result<()> {
    let stored = read(tx)?;
    let old = stored.held.as_ref();
    if old.is_none_or(|old| old.retention != wanted.retention) {
        retain(tx, wanted.retention)?;
    }
    for (key, value) in stored.changes(wanted, at) {
        tx.execute(sql::META_PUT, params![key, value])?;
    }
    Ok(())
}

/// Updates `expires_at` of existing chats for a retention.
fn retain(tx: &Transaction<'_>, retention: Option<Duration>) -> rusqlite::Result<()> {
    match retention {
        Some(span) => tx.execute(sql::RETAIN, [format!("+{} seconds", span.as_secs_f64())])?,
        None => tx.execute(sql::RETAIN_FOREVER, [])?,
    };
    Ok(())
}

impl Writer {
    fn change_setting(
        &mut self,
        which: Persisted,
        wanted: &PersistedSettings,
        at: Timestamp,
    ) -> Result<()> {
        let settings = self.transact("settings", |tx, settings| {
            let mut changed = read(tx)?
                .held
                .unwrap_or_else(|| PersistedSettings::of(settings));
            changed.set(which, wanted);
            store(tx, &changed, at)?;
            Ok(TableSettings {
                list_ttl: changed.list_ttl,
                retention: changed.retention,
                text_index: changed.text_index,
                ..settings.clone()
            })
        })?;
        text::apply_wanted(&mut self.connection, settings.text_index)?;
        self.settings = Arc::new(settings);
        Ok(())
    }
}

#[async_trait]
impl SettingsStore for SqliteDatabase {
    async fn stored_settings(&self) -> Result<StoredSettings> {
        self.read("settings", |tx| read(tx)).await
    }

    async fn change_setting(
        &self,
        which: Persisted,
        wanted: PersistedSettings,
        at: Timestamp,
    ) -> Result<()> {
        let text_index = wanted.text_index;
        let change = move |writer: &mut Writer| writer.change_setting(which, &wanted, at);
        self.writer.call("settings", change).await?;
        if which == Persisted::TextIndex {
            self.text_index.store(text_index, Ordering::Relaxed);
        }
        Ok(())
    }

    /// No other process can change them: the file belongs to one process.
    async fn refresh_settings(&self) -> Result<Option<StoredSettings>> {
        Ok(None)
    }

    /// None are left: chats are updated in the transaction of the change.
    async fn retain_some(&self, _: usize) -> Result<bool> {
        Ok(false)
    }

    async fn lists_to_retime(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Option<ReschedulePage>> {
        self.read("lists_to_retime", move |tx| {
            let stored = read(tx)?;
            let (Some(retiming), Some(current)) = (stored.retiming, stored.held) else {
                return Ok(None);
            };
            let after = cursor(retiming.done);
            let mut select = tx.prepare_cached(sql::LISTS_TO_RETIME)?;
            let lists = select.query_map(params![after, Time(now), limit], |row| {
                retimed(row, current.list_ttl)
            })?;
            let lists = lists.collect::<rusqlite::Result<_>>()?;
            Ok(Some(ReschedulePage {
                lists,
                at: now,
                version: stored.version,
            }))
        })
        .await
    }

    async fn note_retimed(&self, page: ReschedulePage) -> Result<()> {
        self.write("note_retimed", move |tx, _| note_retimed(tx, &page))
            .await
    }
}

fn note_retimed(tx: &Transaction<'_>, page: &ReschedulePage) -> rusqlite::Result<()> {
    let stored = read(tx)?;
    if stored.version != page.version {
        return Ok(());
    }
    let ttl = stored.held.map_or(Ttl::DEFAULT, |held| held.list_ttl);
    let mut select = tx.prepare_cached(sql::LIST_SPOKEN_TO)?;
    let mut set = tx.prepare_cached(sql::LIST_RETIME)?;
    for list in &page.lists {
        let id = Id(list.conversation.0);
        // Read again: a message may have been stored since the page was read.
        let last = select.query_row(params![id, Time(page.at)], |row| row.get::<_, Time>(0));
        if let Some(Time(last)) = last.optional()? {
            set.execute(params![id, Time(last.plus(ttl.0))])?;
        }
    }
    tx.execute(sql::META_PUT, params![RETIMED_AT, page.at.ms().to_string()])?;
    match page.lists.last() {
        Some(last) => tx.execute(
            sql::META_PUT,
            params![RETIMING, last.conversation.to_string()],
        ),
        None => tx.execute(sql::META_DELETE, [RETIMING]),
    }
    .map(drop)
}

fn retimed(row: &Row<'_>, ttl: Ttl) -> rusqlite::Result<RescheduledLists> {
    Ok(RescheduledLists {
        guest: guest(row, 0)?,
        conversation: ConversationId(row.get::<_, Id>(1)?.0),
        next: row.get(2)?,
        expires_at: row.get::<_, Time>(3)?.0.plus(ttl.0),
    })
}
