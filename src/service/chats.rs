//! Reading, deleting and signing up.

use super::Service;
use super::ingest::Operation;
use super::read_limit::ReadPermit;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{Conversation, ConversationId, GuestId, OwnerId, Timestamp};
use guestbook_storage::database::{ChatKey, Erased, Migrated, PageRange, PageStart};
use guestbook_storage::list_cache::{Item, LiveList};
use std::time::Duration;

/// A guest's live session list.
#[derive(Debug)]
pub struct LiveSession {
    /// The messages since the last silence longer than the TTL.
    pub items: Vec<Item>,
    /// How long the list still lives.
    pub ttl: Duration,
    /// The backend that served it: the list store, or the database while the list store is unavailable.
    pub source: &'static str,
    /// Held until the response has memory.
    pub permit: ReadPermit,
}

/// What a deletion removed.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// Rows per table.
    pub erased: Erased,
    /// The stores that hold no data of the guest any more.
    pub deleted_from: Vec<&'static str>,
}

impl Service {
    /// The conversations of a signed-in user, newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn conversations(
        &self,
        user: &OwnerId,
        before: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<Conversation>> {
        self.stores().chats.conversations(user, before, limit).await
    }

    /// The session list of a guest; `None` once it has expired. A list that lags is reconciled first; while the list store is
    /// unavailable, the tables serve the same items.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn session(&self, guest: &GuestId) -> Result<Option<LiveSession>> {
        let now = self.now();
        let Some(row) = self.stores().outbox.list_row(guest, now).await? else {
            return Ok(None);
        };
        let ttl = now.until(row.window.expires_at);
        let permit = match row.next.saturating_sub(row.window.from) {
            messages if messages <= ReadPermit::SHORT as u64 => self.read_permit().await,
            _ => self.long_read_permit().await,
        };
        match self.listed_in_time(guest, now).await {
            Ok(Some(items)) => Ok(Some(LiveSession {
                items,
                ttl,
                source: self.0.parts.lists.name(),
                permit,
            })),
            Ok(None) => Ok(None),
            Err(cause) => {
                tracing::warn!(step = "list", %guest, %cause, "the list store is unavailable; the session is read from the tables");
                let items = self.session_from_tables(guest, row.window.from).await?;
                Ok(Some(LiveSession {
                    items,
                    ttl,
                    source: self.stores().backend.name(),
                    permit,
                }))
            }
        }
    }

    /// As [`Self::listed`], within the budget of the list store, and not while the store is suspended.
    async fn listed_in_time(&self, guest: &GuestId, now: Timestamp) -> Result<Option<Vec<Item>>> {
        let unavailable = |context| {
            let backend = self.0.parts.lists.name();
            Error::new(ErrorKind::Unavailable, backend, "session", context)
        };
        if self.0.lists.is_suspended() {
            return Err(unavailable("the list store has failed and is being tried"));
        }
        let listed = self.listed(guest, now);
        match tokio::time::timeout(self.settings().list_budget, listed).await {
            Ok(listed) => listed,
            Err(_) => Err(unavailable("it did not answer in time")),
        }
    }

    /// The items of a guest's list, reconciled if it differs from the tables.
    async fn listed(&self, guest: &GuestId, now: Timestamp) -> Result<Option<Vec<Item>>> {
        if let Some(items) = self.listed_if_current(guest, now).await? {
            return Ok(items);
        }
        self.reconcile_detached(guest).await?;
        let lists = self.0.parts.lists.name();
        let behind = || {
            Error::new(
                ErrorKind::Unavailable,
                lists,
                "session",
                "the list is being rebuilt",
            )
        };
        self.listed_if_current(guest, now).await?.ok_or_else(behind)
    }

    /// The items of a guest's list, if it matches the tables; `Some(None)` when there should be no list.
    async fn listed_if_current(
        &self,
        guest: &GuestId,
        now: Timestamp,
    ) -> Result<Option<Option<Vec<Item>>>> {
        let list = self.0.parts.lists.range(guest, now).await;
        if let Err(cause) = &list
            && cause.kind() == ErrorKind::Corrupt
        {
            self.0.lists.mark_suspect(guest.clone());
        }
        let list = list?;
        let Some(row) = self.stores().outbox.list_row(guest, now).await? else {
            return Ok(Some(None));
        };
        let is_current =
            |list: &LiveList| self.is_current(&row, Some(&list.head)) && list.head.next == row.next;
        Ok(list.filter(is_current).map(|list| Some(list.items)))
    }

    /// Reconciles a list to the end even if the client disconnects: half a rebuild could restore removed messages.
    async fn reconcile_detached(&self, guest: &GuestId) -> Result<()> {
        let (service, guest) = (self.clone(), guest.clone());
        let reconciliation = tokio::spawn(async move { service.reconcile(&guest).await }).await;
        let ended = |cause| {
            Error::caused(
                ErrorKind::Internal,
                "service",
                "reconcile",
                "the list reconciliation panicked",
                cause,
            )
        };
        reconciliation.map_err(ended)?.map(drop)
    }

    async fn session_from_tables(&self, guest: &GuestId, from: u64) -> Result<Vec<Item>> {
        let page = PageRange {
            limit: usize::try_from(i64::MAX).unwrap_or(usize::MAX),
            from: PageStart::At(from),
        };
        let history = self
            .stores()
            .chats
            .history(&ChatKey::Guest(guest.clone()), page, self.now())
            .await?;
        let messages = history.map(|history| history.messages).unwrap_or_default();
        let items = messages.into_iter().map(|message| Item {
            role: message.role,
            content: message.content,
            timestamp: message.sent_at,
        });
        Ok(items.collect())
    }

    /// Erases everything of a guest from every store; idempotent.
    ///
    /// # Errors
    /// Those of the database; nothing was erased then.
    pub async fn delete(&self, guest: GuestId) -> Result<Deleted> {
        let erasure = self.change(guest, Operation::Erase).await?;
        let lists = erasure.list_removed.then(|| self.0.parts.lists.name());
        Ok(Deleted {
            erased: erasure.erased,
            deleted_from: lists
                .into_iter()
                .chain([self.stores().backend.name()])
                .collect(),
        })
    }

    /// Migrates a guest's chat to a user in one transaction. A failed attempt is recorded in `cache_migrations` too.
    ///
    /// # Errors
    /// Those of the database; nothing was moved then.
    pub async fn migrate(&self, guest: GuestId, user: OwnerId) -> Result<Migrated> {
        let migrate = |request| Operation::Migrate(request, user);
        self.change(guest, migrate).await
    }
}
