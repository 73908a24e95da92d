//! Storing, reading and erasing chats.

use super::erase::LockedChats;
use super::error::Attempt;
use super::rows::{count, id, int, limit as rows_limit, moment, text, time_or_none};
use super::session::{BeginMode, EndMode, statement};
use super::{PostgresDatabase, first_count, prompts, rows, sql};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{Conversation, ConversationId, GuestId, OwnerId, Timestamp};
use guestbook_storage::database::{
    Batch, CacheVersion, ChatKey, Chats, Erased, History, MessageSize, Migrated, Outcome,
    PageRange, PageStart,
};
use std::sync::Arc;

/// Above every id: where reading the newest conversations begins.
pub(super) const ABOVE_ALL: &str = "g";
/// Messages that retention erases per transaction, about: their rows are locked that long.
const ERASED_TOGETHER: u64 = 5_000;

#[async_trait]
impl Chats for PostgresDatabase {
    fn writers(&self) -> usize {
        self.0.writers
    }

    async fn record(&self, batch: Arc<Batch>) -> Result<Vec<Outcome>> {
        self.record_batch(&batch).await
    }

    async fn history(
        &self,
        chat: &ChatKey,
        page: PageRange,
        now: Timestamp,
    ) -> Result<Option<History>> {
        let (guest, key) = match chat {
            ChatKey::Guest(guest) => (true, guest.as_str().to_owned()),
            ChatKey::Conversation(id) => (false, id.to_string()),
        };
        let (down, bound) = match page.from {
            PageStart::At(sequence) => (false, int(sequence)),
            PageStart::Below(sequence) => (true, int(sequence)),
        };
        let find = if guest {
            sql::CONVERSATION_OF_GUEST
        } else {
            sql::CONVERSATION_BY_ID
        };
        let messages = match (guest, down) {
            (true, false) => sql::MESSAGES_OF_GUEST_UP,
            (true, true) => sql::MESSAGES_OF_GUEST_DOWN,
            (false, false) => sql::MESSAGES_UP,
            (false, true) => sql::MESSAGES_DOWN,
        };
        let (now, limit) = (moment(now), rows_limit(page.limit));
        let statements = [
            statement!(find; key => TEXT, now => TIMESTAMPTZ),
            statement!(messages; key => TEXT, bound => INT8, limit => INT8),
        ];
        let found = self.read("history", &statements).await?;
        let read = || -> Attempt<_> {
            let Some(row) = found[0].first() else {
                return Ok(None);
            };
            let mut messages = found[1]
                .iter()
                .map(rows::message)
                .collect::<Attempt<Vec<_>>>()?;
            if down {
                messages.reverse();
            }
            let conversation = rows::conversation(row)?;
            Ok(Some(History {
                conversation,
                messages,
                version: None,
            }))
        };
        read().map_err(|fault| fault.into_error("history"))
    }

    async fn message_sizes(
        &self,
        conversation: ConversationId,
        page: PageRange,
    ) -> Result<Vec<MessageSize>> {
        let (sizes, bound, is_down) = match page.from {
            PageStart::At(sequence) => (sql::MESSAGE_SIZES_UP, sequence, false),
            PageStart::Below(sequence) => (sql::MESSAGE_SIZES_DOWN, sequence, true),
        };
        let (key, bound, limit) = (conversation.to_string(), int(bound), rows_limit(page.limit));
        let statements = [statement!(sizes; key => TEXT, bound => INT8, limit => INT8)];
        let found = self.read("message_sizes", &statements).await?;
        let size = |row| {
            Ok(MessageSize {
                sequence: count(row, 0)?,
                bytes: usize::try_from(count(row, 1)?).unwrap_or(usize::MAX),
            })
        };
        let read: Attempt<Vec<_>> = found[0].iter().map(size).collect();
        let mut read = read.map_err(|fault| fault.into_error("message_sizes"))?;
        if is_down {
            read.reverse();
        }
        Ok(read)
    }

    /// Never fresh: another node may have changed it.
    fn is_fresh(&self, _: &CacheVersion) -> bool {
        false
    }

    async fn conversations(
        &self,
        owner: &OwnerId,
        before: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<Conversation>> {
        let before = before.map_or_else(|| ABOVE_ALL.to_owned(), |id| id.to_string());
        let (owner, limit) = (owner.as_str(), rows_limit(limit));
        let statements = [statement!(sql::CONVERSATIONS_OF_USER;
            owner => TEXT, before => TEXT, limit => INT8)];
        let found = self.read("conversations", &statements).await?;
        let read: Attempt<_> = found[0].iter().map(rows::conversation).collect();
        read.map_err(|fault| fault.into_error("conversations"))
    }

    async fn erase(&self, guest: &GuestId, at: Timestamp) -> Result<Erased> {
        let erased = match self.erase_guest(guest, at).await {
            Err(fault) if fault.is_undone() => self.erase_guest(guest, at).await,
            other => other,
        };
        erased.map_err(|fault| fault.into_error("erase"))
    }

    async fn migrate(&self, guest: &GuestId, user: &OwnerId, at: Timestamp) -> Result<Migrated> {
        let migrated = match self.migrate_guest(guest, user, at).await {
            Err(fault) if fault.is_undone() => self.migrate_guest(guest, user, at).await,
            other => other,
        };
        migrated.map_err(|fault| fault.into_error("migrate"))
    }

    async fn migration_failed(
        &self,
        guest: &GuestId,
        user: &OwnerId,
        at: Timestamp,
        cause: &str,
    ) -> Result<()> {
        self.log_failed_migration(guest, user, at, cause).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<Erased> {
        let at = moment(now);
        let due = [statement!(sql::EXPIRED; at => TIMESTAMPTZ)];
        if self.read("expire", &due).await?[0].is_empty() {
            return Ok(Erased::default()); // nothing to do is the common case, and must lock nothing
        }
        let erased = self.expire_some(now, limit).await;
        erased.map_err(|fault| fault.into_error("expire"))
    }
}

impl PostgresDatabase {
    async fn erase_guest(&self, guest: &GuestId, at: Timestamp) -> Attempt<Erased> {
        let (owner, name) = (OwnerId::from(guest), guest.as_str());
        let mut session = self.session().await?;
        let locked = [statement!(sql::GUEST_LOCK; name => TEXT)];
        let rows = session
            .transact(BeginMode::Write, &locked, EndMode::Open)
            .await?;
        if let Some(row) = rows[0].first() {
            let mut doomed = LockedChats::default();
            doomed.add(ConversationId(id(row, 0)?), &owner);
            return doomed.erase(self, &mut session, at, EndMode::Commit).await;
        }
        // Counters of a guest without a chat, which only damage can leave behind.
        let owners = vec![name];
        let scopes = vec![prompts::scope_of(name)];
        let lone = [
            statement!(sql::USAGE_ERASE; owners => TEXT_ARRAY),
            statement!(sql::PROMPTS_ERASE; scopes => TEXT_ARRAY),
        ];
        let rows = session.go_on(&lone, EndMode::Commit).await?;
        Ok(Erased {
            usage: first_count(&rows[0])?,
            prompts: first_count(&rows[1])?,
            ..Erased::default()
        })
    }

    async fn expire_some(&self, now: Timestamp, limit: usize) -> Attempt<Erased> {
        let (at, limit) = (moment(now), rows_limit(limit));
        let mut session = self.session().await?;
        let locked = [statement!(sql::EXPIRED_LOCK; at => TIMESTAMPTZ, limit => INT8)];
        let rows = session
            .transact(BeginMode::Write, &locked, EndMode::Open)
            .await?;
        let mut doomed = LockedChats::default();
        let mut messages = 0;
        for row in &rows[0] {
            if messages > ERASED_TOGETHER {
                break; // the next call goes on from here
            }
            messages += count(row, 2)?;
            doomed.add(
                ConversationId(id(row, 0)?),
                &OwnerId::from_stored(text(row, 1)?),
            );
        }
        doomed.erase(self, &mut session, now, EndMode::Commit).await
    }

    /// Locks a guest's conversation that retention has not ended at `at`.
    pub(super) async fn lock_guest(
        &self,
        session: &mut super::PooledConnection,
        guest: &GuestId,
        at: Timestamp,
    ) -> Attempt<Option<ConversationId>> {
        let name = guest.as_str();
        let locked = [statement!(sql::GUEST_LOCK; name => TEXT)];
        let rows = session
            .transact(BeginMode::Write, &locked, EndMode::Open)
            .await?;
        let Some(row) = rows[0].first() else {
            return Ok(None);
        };
        let ended = time_or_none(row, 1)?.is_some_and(|end| end <= at);
        Ok(if ended {
            None
        } else {
            Some(ConversationId(id(row, 0)?))
        })
    }
}
