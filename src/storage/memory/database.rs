//! The lock around the tables, and the calls that go through it.

use super::tables::MemoryTables;
use super::{LOCATION, NAME, closed};
use crate::database::{
    Batch, CacheVersion, ChatKey, Chats, Erased, History, MessageSize, Migrated, Outcome,
    PageRange, TableSettings,
};
use crate::{Durability, DurabilityReport, Stats, Storage};
use async_trait::async_trait;
use guestbook_core::error::{Error, Result};
use guestbook_core::{Conversation, ConversationId, GuestId, OwnerId, Timestamp};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// The tables in memory. Shared as `Stores`; dropping the last clone drops the data.
pub struct MemoryDatabase {
    epoch: Uuid,
    /// `None` once closed.
    tables: Mutex<Option<MemoryTables>>,
}

impl MemoryDatabase {
    /// Empty tables with an epoch of their own.
    pub fn new(settings: TableSettings) -> Self {
        Self {
            epoch: Uuid::now_v7(),
            tables: Mutex::new(Some(MemoryTables::new(settings))),
        }
    }

    /// The epoch: new with every `new`, because no older content remains.
    pub(super) fn content_epoch(&self) -> Uuid {
        self.epoch
    }

    /// Runs one call on the tables under the lock. This is the transaction: others see all of it or nothing.
    pub(super) fn run<T>(
        &self,
        operation: &'static str,
        call: impl FnOnce(&mut MemoryTables) -> T,
    ) -> Result<T> {
        let mut tables = self.lock();
        tables.as_mut().map(call).ok_or_else(|| closed(operation))
    }

    fn lock(&self) -> MutexGuard<'_, Option<MemoryTables>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MemoryDatabase");
        match self.lock().as_ref() {
            Some(tables) => shown
                .field("conversations", &tables.conversations.len())
                .field("messages", &tables.messages.len())
                .field("migrations", &tables.migrations)
                .finish_non_exhaustive(),
            None => shown.field("closed", &true).finish_non_exhaustive(),
        }
    }
}

#[async_trait]
impl Storage for MemoryDatabase {
    fn name(&self) -> &'static str {
        NAME
    }

    fn location(&self) -> String {
        LOCATION.into()
    }

    async fn health(&self) -> Result<()> {
        self.run("health", |_| ())
    }

    fn fatal(&self) -> Option<Error> {
        None // nothing here can fail half-way
    }

    async fn durability(&self) -> Result<DurabilityReport> {
        Ok(DurabilityReport::new(Durability::Nothing, "in memory"))
    }

    async fn stats(&self) -> Result<Stats> {
        self.run("stats", |tables| tables.stats())
    }

    async fn flush(&self) -> Result<()> {
        self.run("flush", |_| ())
    }

    async fn close(&self) -> Result<()> {
        *self.lock() = None;
        Ok(())
    }
}

#[async_trait]
impl Chats for MemoryDatabase {
    fn writers(&self) -> usize {
        1
    }

    async fn record(&self, batch: Arc<Batch>) -> Result<Vec<Outcome>> {
        self.run("record", |tables| tables.record(&batch))?
    }

    async fn history(
        &self,
        chat: &ChatKey,
        page: PageRange,
        now: Timestamp,
    ) -> Result<Option<History>> {
        self.run("history", |tables| tables.history(chat, page, now))
    }

    async fn message_sizes(
        &self,
        conversation: ConversationId,
        page: PageRange,
    ) -> Result<Vec<MessageSize>> {
        self.run("message_sizes", |tables| {
            tables.message_sizes(conversation, page)
        })
    }

    /// Never fresh: caching what is in memory already gains nothing.
    fn is_fresh(&self, _: &CacheVersion) -> bool {
        false
    }

    async fn conversations(
        &self,
        owner: &OwnerId,
        before: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<Conversation>> {
        self.run("conversations", |tables| tables.owned(owner, before, limit))
    }

    async fn erase(&self, guest: &GuestId, at: Timestamp) -> Result<Erased> {
        self.run("erase", |tables| tables.erase(guest, at))
    }

    async fn migrate(&self, guest: &GuestId, user: &OwnerId, at: Timestamp) -> Result<Migrated> {
        self.run("migrate", |tables| tables.migrate(guest, user, at))
    }

    async fn migration_failed(
        &self,
        guest: &GuestId,
        user: &OwnerId,
        at: Timestamp,
        cause: &str,
    ) -> Result<()> {
        self.run("migration_failed", |tables| {
            tables
                .migrations
                .push(format!("{at} failed: {guest} to {user}: {cause}"));
        })
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<Erased> {
        self.run("expire", |tables| tables.expire(now, limit))
    }
}
