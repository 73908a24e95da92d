//! Reading, erasing and migrating chats.

use super::rows::{Id, Time};
use super::{SqliteDatabase, outbox, prompts, rows, sql};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{Conversation, ConversationId, GuestId, OwnerId, Timestamp};
use guestbook_storage::database::{
    Batch, CacheVersion, ChatKey, Chats, CounterDeltas, Erased, History, MessageSize, Migrated,
    Outcome, PageRange, PageStart,
};
use rusqlite::{OptionalExtension, Transaction, params};
use std::sync::Arc;
use uuid::Uuid;

/// Above every id: where reading the newest conversations begins.
const ABOVE_ALL: &str = "g";

#[async_trait]
impl Chats for SqliteDatabase {
    fn writers(&self) -> usize {
        1
    }

    async fn record(&self, batch: Arc<Batch>) -> Result<Vec<Outcome>> {
        self.record_batch(batch).await
    }

    async fn history(
        &self,
        chat: &ChatKey,
        page: PageRange,
        now: Timestamp,
    ) -> Result<Option<History>> {
        let (chat, versions) = (chat.clone(), self.versions.clone());
        self.read("history", move |tx| {
            let version = versions.at_read(); // before the first statement, which begins the snapshot
            let Some((row, conversation)) = find_row(tx, &chat, now)? else {
                return Ok(None);
            };
            let statements = [sql::MESSAGES_UP, sql::MESSAGES_DOWN];
            let messages = of_page(tx, statements, conversation.id, page, rows::message)?;
            Ok(Some(History {
                conversation,
                messages,
                version: Some(version.of(row)),
            }))
        })
        .await
    }

    async fn message_sizes(
        &self,
        conversation: ConversationId,
        page: PageRange,
    ) -> Result<Vec<MessageSize>> {
        self.read("message_sizes", move |tx| {
            let statements = [sql::MESSAGE_SIZES_UP, sql::MESSAGE_SIZES_DOWN];
            of_page(tx, statements, conversation, page, rows::message_size)
        })
        .await
    }

    fn is_fresh(&self, version: &CacheVersion) -> bool {
        self.versions.is_fresh(version) && self.poison.check().is_ok()
    }

    async fn conversations(
        &self,
        owner: &OwnerId,
        before: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<Conversation>> {
        let owner = owner.clone();
        self.read("conversations", move |tx| owned(tx, &owner, before, limit))
            .await
    }

    async fn erase(&self, guest: &GuestId, at: Timestamp) -> Result<Erased> {
        let guest = guest.clone();
        self.write("erase", move |tx, _| {
            let owner = OwnerId::from(&guest);
            let found = tx.query_row(
                sql::GUEST_CONVERSATION_EVEN_ENDED,
                [guest.as_str()],
                |row| row.get::<_, Id>(0),
            );
            match found.optional()? {
                Some(id) => erase_conversation(tx, ConversationId(id.0), &owner, at),
                None => Ok(Erased {
                    usage: erase_lone_usage(tx, &owner)?,
                    prompts: prompts::erase(tx, guest.as_str())?,
                    ..Erased::default()
                }),
            }
        })
        .await
    }

    async fn migrate(&self, guest: &GuestId, user: &OwnerId, at: Timestamp) -> Result<Migrated> {
        let (guest, user) = (guest.clone(), user.clone());
        self.write("migrate", move |tx, _| migrate(tx, &guest, &user, at))
            .await
    }

    async fn migration_failed(
        &self,
        guest: &GuestId,
        user: &OwnerId,
        at: Timestamp,
        cause: &str,
    ) -> Result<()> {
        let (guest, user, cause) = (guest.clone(), user.clone(), cause.to_owned());
        self.write("migration_failed", move |tx, _| {
            let failed = Migrated::default();
            log_migration(tx, &guest, &user, at, failed, Some(&cause))
        })
        .await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<Erased> {
        let due = self
            .read("expire", move |tx| expired(tx, now, limit))
            .await?;
        if due.is_empty() {
            return Ok(Erased::default()); // nothing to do is the common case, and must not cost a commit
        }
        self.write("expire", move |tx, _| {
            let mut erased = Erased::default();
            for (id, owner) in expired(tx, now, limit)? {
                erased.add(erase_conversation(tx, id, &owner, now)?);
            }
            Ok(erased)
        })
        .await
    }
}

/// The rows of a page, in order of sequence, by one of two statements: ascending or descending.
fn of_page<R>(
    tx: &Transaction<'_>,
    [up, down]: [&str; 2],
    conversation: ConversationId,
    page: PageRange,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<R>,
) -> rusqlite::Result<Vec<R>> {
    let (statement, bound) = match page.from {
        PageStart::At(sequence) => (up, sequence),
        PageStart::Below(sequence) => (down, sequence),
    };
    let bound = i64::try_from(bound).unwrap_or(i64::MAX);
    let mut select = tx.prepare_cached(statement)?;
    let found = select.query_map(params![Id(conversation.0), bound, page.limit], read)?;
    let mut found = found.collect::<rusqlite::Result<Vec<_>>>()?;
    if matches!(page.from, PageStart::Below(_)) {
        found.reverse();
    }
    Ok(found)
}

/// A conversation that retention has not ended at `now`.
pub(super) fn find(
    tx: &Transaction<'_>,
    chat: &ChatKey,
    now: Timestamp,
) -> rusqlite::Result<Option<Conversation>> {
    Ok(find_row(tx, chat, now)?.map(|(_, conversation)| conversation))
}

/// The same, with its row number.
fn find_row(
    tx: &Transaction<'_>,
    chat: &ChatKey,
    now: Timestamp,
) -> rusqlite::Result<Option<(i64, Conversation)>> {
    let (statement, key) = match chat {
        ChatKey::Guest(guest) => (sql::CONVERSATION_OF_GUEST, guest.as_str().to_owned()),
        ChatKey::Conversation(id) => (sql::CONVERSATION_BY_ID, id.to_string()),
    };
    let mut select = tx.prepare_cached(statement)?;
    select
        .query_row(params![key, Time(now)], |row| {
            Ok((row.get(11)?, rows::conversation(row)?))
        })
        .optional()
}

/// The conversations a user owns, newest first, older than `before`.
pub(super) fn owned(
    tx: &Transaction<'_>,
    owner: &OwnerId,
    before: Option<ConversationId>,
    limit: usize,
) -> rusqlite::Result<Vec<Conversation>> {
    let before = before.map_or_else(|| ABOVE_ALL.to_owned(), |id| id.to_string());
    let mut select = tx.prepare_cached(sql::CONVERSATIONS_OF_USER)?;
    let found = select.query_map(params![owner.as_str(), before, limit], rows::conversation)?;
    found.collect()
}

/// A guest's conversation that retention has not ended at `at`.
fn guest_conversation(
    tx: &Transaction<'_>,
    guest: &GuestId,
    at: Timestamp,
) -> rusqlite::Result<Option<ConversationId>> {
    let key = params![guest.as_str(), Time(at)];
    let found = tx.query_row(sql::GUEST_CONVERSATION, key, |row| row.get::<_, Id>(0));
    Ok(found.optional()?.map(|id| ConversationId(id.0)))
}

fn expired(
    tx: &Transaction<'_>,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<(ConversationId, OwnerId)>> {
    let mut select = tx.prepare_cached(sql::EXPIRED_CONVERSATIONS)?;
    let read = |row: &rusqlite::Row<'_>| {
        let owner = OwnerId::from_stored(row.get_ref(1)?.as_str()?);
        Ok((ConversationId(row.get::<_, Id>(0)?.0), owner))
    };
    select.query_map(params![Time(now), limit], read)?.collect()
}

/// Removes a guest's conversation with all its derived rows; the removal of its list becomes an outbox entry.
pub(super) fn erase_conversation(
    tx: &Transaction<'_>,
    id: ConversationId,
    owner: &OwnerId,
    at: Timestamp,
) -> rusqlite::Result<Erased> {
    let key = Id(id.0);
    let remove = |statement: &str| -> rusqlite::Result<u64> {
        Ok(tx.prepare_cached(statement)?.execute([&key])? as u64)
    };
    let usage = erase_usage(tx, id, owner, at)?;
    let embeddings = remove(sql::ERASE_VECTORS)?;
    remove(sql::ERASE_NOTES)?;
    let mappings = remove(sql::ERASE_MAPPINGS)?;
    guestbook_failpoint::reach("erase.mid");
    let messages = remove(sql::ERASE_MESSAGES)?;
    let conversations = remove(sql::ERASE_CONVERSATION)?;
    let prompts = prompts::erase(tx, owner.as_str())?;
    tx.prepare_cached(sql::REMOVAL_ADD)?
        .execute(params![owner.as_str(), Time(at)])?;
    let fewer = i64::try_from(messages).unwrap_or(i64::MAX);
    outbox::count(tx, at, -fewer, 0, &CounterDeltas::default())?;
    Ok(Erased {
        conversations,
        messages,
        embeddings,
        usage,
        mappings,
        prompts,
    })
}

/// Removes a guest's counters with the chat. If the same id is a user's with conversations, only the chat's share is subtracted.
fn erase_usage(
    tx: &Transaction<'_>,
    id: ConversationId,
    owner: &OwnerId,
    at: Timestamp,
) -> rusqlite::Result<u64> {
    if !owns_as_user(tx, owner)? {
        return Ok(tx.execute(sql::ERASE_USAGE, [owner.as_str()])? as u64);
    }
    subtract_usage(tx, owner, &MigratedUsage::of(tx, id)?, at)?;
    Ok(0)
}

/// Removes counters of a guest without a chat, which only damage can leave behind.
fn erase_lone_usage(tx: &Transaction<'_>, owner: &OwnerId) -> rusqlite::Result<u64> {
    if owns_as_user(tx, owner)? {
        return Ok(0);
    }
    Ok(tx.execute(sql::ERASE_USAGE, [owner.as_str()])? as u64)
}

fn owns_as_user(tx: &Transaction<'_>, owner: &OwnerId) -> rusqlite::Result<bool> {
    tx.query_row(sql::OWNS_AS_USER, [owner.as_str()], |row| row.get(0))
}

fn subtract_usage(
    tx: &Transaction<'_>,
    owner: &OwnerId,
    share: &MigratedUsage,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let row = params![
        owner.as_str(),
        share.messages,
        share.input,
        share.output,
        Time(at)
    ];
    tx.execute(sql::USAGE_SUBTRACT, row).map(drop)
}

/// What one conversation counted for its owner.
struct MigratedUsage {
    messages: u64,
    input: u64,
    output: u64,
}

impl MigratedUsage {
    fn of(tx: &Transaction<'_>, id: ConversationId) -> rusqlite::Result<Self> {
        tx.query_row(sql::COUNT_MESSAGES, [Id(id.0)], |row| {
            Ok(Self {
                messages: row.get(0)?,
                input: row.get(1)?,
                output: row.get(2)?,
            })
        })
    }
}

fn migrate(
    tx: &Transaction<'_>,
    guest: &GuestId,
    user: &OwnerId,
    at: Timestamp,
) -> rusqlite::Result<Migrated> {
    prompts::erase(tx, guest.as_str())?; // also of a guest without a message
    let Some(id) = guest_conversation(tx, guest, at)? else {
        log_migration(tx, guest, user, at, Migrated::default(), None)?;
        return Ok(Migrated::default());
    };
    let share = MigratedUsage::of(tx, id)?;
    migrate_usage(tx, guest, user, &share, at)?;
    guestbook_failpoint::reach("migrate.mid");
    tx.execute(sql::MIGRATE_CONVERSATION, params![Id(id.0), user.as_str()])?;
    tx.execute(sql::MIGRATE_MAPPINGS, params![Id(id.0), user.as_str()])?;
    tx.execute(sql::REMOVAL_ADD, params![guest.as_str(), Time(at)])?;
    let migrated = Migrated {
        conversations: 1,
        messages: share.messages,
    };
    log_migration(tx, guest, user, at, migrated, None)?;
    Ok(migrated)
}

/// Adds the guest's counters to the user's. If the guest's id is a user's as well, only the chat's share moves.
fn migrate_usage(
    tx: &Transaction<'_>,
    guest: &GuestId,
    user: &OwnerId,
    share: &MigratedUsage,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let owner = OwnerId::from(guest);
    if owner == *user {
        return tx.execute(sql::USAGE_PROMOTE, [user.as_str()]).map(drop);
    }
    if owns_as_user(tx, &owner)? {
        subtract_usage(tx, &owner, share, at)?;
        let (messages, input, output) = (share.messages, share.input, share.output);
        let row = params![
            Id(Uuid::now_v7()),
            user.as_str(),
            messages,
            input,
            output,
            Time(at)
        ];
        return tx.execute(sql::USAGE_ADD, row).map(drop);
    }
    let row = params![guest.as_str(), user.as_str(), Id(Uuid::now_v7()), Time(at)];
    tx.execute(sql::MIGRATE_USAGE, row)?;
    tx.execute(sql::USAGE_DELETE, [guest.as_str()]).map(drop)
}

fn log_migration(
    tx: &Transaction<'_>,
    guest: &GuestId,
    user: &OwnerId,
    at: Timestamp,
    migrated: Migrated,
    failure: Option<&str>,
) -> rusqlite::Result<()> {
    let status = if failure.is_some() {
        "failed"
    } else {
        "completed"
    };
    tx.execute(
        sql::MIGRATION_ADD,
        params![
            Id(Uuid::now_v7()),
            status,
            migrated.messages,
            u64::from(failure.is_some()),
            Time(at),
            format!("guest:{guest}"),
            format!("user:{user}"),
            failure,
        ],
    )?;
    Ok(())
}
