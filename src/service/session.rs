//! Reading a guest's live session list in steps of bounded size: from the list store, or from the tables while it is unavailable.

use super::Service;
use super::history::HistoryPage;
use super::read_limit::ReadPermit;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{GuestId, Message, Timestamp};
use guestbook_storage::database::{ChatKey, ListRow, PageRange, PageStart};
use guestbook_storage::list_cache::{Item, ListPage, ListRange, Origin};
use std::ops::Range;
use std::time::Duration;

/// A page of a guest's live session list with at most one step in memory. Its items are fixed when it is begun.
#[derive(Debug)]
pub struct SessionPage {
    /// How long the list still lives.
    pub ttl: Duration,
    /// The backend that served it: the list store, or the database while the list store is unavailable.
    pub source: &'static str,
    /// The sequences of its items.
    pub bounds: Range<u64>,
    /// The sequences of the whole list.
    pub list: Range<u64>,
    steps: Steps,
}

#[derive(Debug)]
enum Steps {
    List(ListSteps),
    Tables(HistoryPage),
}

#[derive(Debug)]
struct ListSteps {
    service: Service,
    guest: GuestId,
    origin: Origin,
    /// All of a short page, which was read to see whether the list is current.
    first: Option<(Vec<Item>, ReadPermit)>,
    unread: Range<u64>,
}

impl Service {
    /// A page of a guest's session list; `None` once it has expired. A list that lags is reconciled first; while the list store
    /// is unavailable, the tables serve the same items.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn session(&self, guest: &GuestId, page: PageRange) -> Result<Option<SessionPage>> {
        let now = self.now();
        let permit = self.read_permit().await;
        let Some(row) = self.stores().outbox.list_row(guest, now).await? else {
            return Ok(None);
        };
        match self.listed_in_time(&row, page, now).await {
            Ok(Some((row, list))) => Ok(Some(SessionPage::of_list(self, &row, page, list, permit))),
            Ok(None) => Ok(None),
            Err(cause) => {
                drop(permit);
                tracing::warn!(step = "list", %guest, %cause, "the list store is unavailable; the session is read from the tables");
                self.session_from_tables(&row, page).await
            }
        }
    }

    /// As [`Self::listed`], within the budget of the list store, and not while the store is suspended.
    async fn listed_in_time(
        &self,
        row: &ListRow,
        page: PageRange,
        now: Timestamp,
    ) -> Result<Option<(ListRow, ListPage)>> {
        let unavailable = |context| {
            let backend = self.0.parts.lists.name();
            Error::new(ErrorKind::Unavailable, backend, "session", context)
        };
        if self.0.lists.is_suspended() {
            return Err(unavailable("the list store has failed and is being tried"));
        }
        let listed = self.listed(row, page, now);
        match tokio::time::timeout(self.settings().list_budget, listed).await {
            Ok(listed) => listed,
            Err(_) => Err(unavailable("it did not answer in time")),
        }
    }

    /// The first step of a page, reconciled if the list differs from the tables, and the row that the page is of.
    async fn listed(
        &self,
        row: &ListRow,
        page: PageRange,
        now: Timestamp,
    ) -> Result<Option<(ListRow, ListPage)>> {
        if let Some(list) = self.listed_if_current(row, page, now).await? {
            return Ok(list.map(|list| (row.clone(), list)));
        }
        self.reconcile_detached(&row.guest).await?;
        let Some(row) = self.stores().outbox.list_row(&row.guest, now).await? else {
            return Ok(None);
        };
        let lists = self.0.parts.lists.name();
        let behind = || {
            let context = "the list is being rebuilt";
            Error::new(ErrorKind::Unavailable, lists, "session", context)
        };
        let again = self.listed_if_current(&row, page, now).await?;
        let list = again.ok_or_else(behind)?;
        Ok(list.map(|list| (row, list)))
    }

    /// The first step of a page, if the list matches the tables; `Some(None)` when there should be no list.
    async fn listed_if_current(
        &self,
        row: &ListRow,
        page: PageRange,
        now: Timestamp,
    ) -> Result<Option<Option<ListPage>>> {
        let bounds = bounds(row, page);
        let first = bounds.start;
        let list = self.list_step(&row.guest, bounds, now).await?;
        // What was appended meanwhile is no part of the page, but the list must be the one that the rows imply.
        let Some(later) = self.stores().outbox.list_row(&row.guest, now).await? else {
            return Ok(Some(None));
        };
        let is_current = |list: &ListPage| {
            let is_same = later.window.from == row.window.from && list.first == first;
            is_same && self.is_current(&later, Some(&list.head)) && list.head.next == later.next
        };
        Ok(list.filter(is_current).map(Some))
    }

    async fn list_step(
        &self,
        guest: &GuestId,
        bounds: Range<u64>,
        now: Timestamp,
    ) -> Result<Option<ListPage>> {
        let step = ListRange::step(bounds.start);
        let count = usize::try_from(bounds.end - bounds.start).unwrap_or(usize::MAX);
        let limit = step.limit.min(count);
        let range = ListRange { limit, ..step };
        let list = self.0.parts.lists.range(guest, range, now).await;
        if let Err(cause) = &list
            && cause.kind() == ErrorKind::Corrupt
        {
            self.0.lists.mark_suspect(guest.clone());
        }
        list
    }

    /// Reconciles a list to the end even if the client disconnects: half a rebuild could restore removed messages.
    async fn reconcile_detached(&self, guest: &GuestId) -> Result<()> {
        let (service, guest) = (self.clone(), guest.clone());
        let reconciliation = tokio::spawn(async move { service.reconcile(&guest).await }).await;
        let ended = |cause| {
            let context = "the list reconciliation panicked";
            Error::caused(ErrorKind::Internal, "service", "reconcile", context, cause)
        };
        reconciliation.map_err(ended)?.map(drop)
    }

    async fn session_from_tables(
        &self,
        row: &ListRow,
        page: PageRange,
    ) -> Result<Option<SessionPage>> {
        let bounds = bounds(row, page);
        let range = PageRange {
            limit: usize::try_from(bounds.end - bounds.start).unwrap_or(usize::MAX),
            from: PageStart::At(bounds.start),
        };
        let chat = ChatKey::Guest(row.guest.clone());
        let read = self.page(&chat, range).await?;
        // Erased and begun anew meanwhile, it is another list.
        let is_same = |read: &HistoryPage| read.conversation().id == row.conversation;
        let Some(read) = read.filter(is_same) else {
            return Ok(None);
        };
        let end = read.bounds().map_or(bounds.start, |(_, last)| last + 1);
        Ok(Some(SessionPage {
            ttl: self.now().until(row.window.expires_at),
            source: self.stores().backend.name(),
            bounds: bounds.start..end,
            list: row.window.from..row.next,
            steps: Steps::Tables(read),
        }))
    }
}

/// The sequences of a page.
fn bounds(row: &ListRow, page: PageRange) -> Range<u64> {
    let (from, next) = (row.window.from, row.next.max(row.window.from));
    let limit = page.limit as u64;
    match page.from {
        PageStart::At(first) => {
            let first = first.clamp(from, next);
            first..first.saturating_add(limit).min(next)
        }
        PageStart::Below(end) => {
            let end = end.clamp(from, next);
            end.saturating_sub(limit).max(from)..end
        }
    }
}

impl SessionPage {
    fn of_list(
        service: &Service,
        row: &ListRow,
        page: PageRange,
        list: ListPage,
        permit: ReadPermit,
    ) -> Self {
        let bounds = bounds(row, page);
        let is_whole = list.next() == bounds.end;
        Self {
            ttl: service.now().until(row.window.expires_at),
            source: service.0.parts.lists.name(),
            list: row.window.from..row.next,
            steps: Steps::List(ListSteps {
                service: service.clone(),
                guest: row.guest.clone(),
                origin: list.head.origin,
                unread: if is_whole { 0..0 } else { bounds.clone() },
                // A long page waits for memory before it reads its steps: until then it holds neither items nor a permit.
                first: is_whole.then_some((list.items, permit)),
            }),
            bounds,
        }
    }

    /// Whether it is read in steps, of which none is read yet.
    pub fn is_long(&self) -> bool {
        match &self.steps {
            Steps::List(steps) => !steps.unread.is_empty(),
            Steps::Tables(page) => page.is_long(),
        }
    }

    /// Whether no step remains.
    pub fn is_read(&self) -> bool {
        match &self.steps {
            Steps::List(steps) => steps.first.is_none() && steps.unread.is_empty(),
            Steps::Tables(page) => page.is_read(),
        }
    }

    /// Bytes of contents that its largest step may hold, unless one item alone has more.
    pub fn largest_step(&self) -> usize {
        match &self.steps {
            Steps::List(_) => 2 * ListRange::step(0).bytes,
            Steps::Tables(page) => page.largest_step(),
        }
    }

    /// The items of the next step in order of sequence, and the permit to hold them; `None` at the end.
    ///
    /// # Errors
    /// Those of the stores. `Conflict` if the list ended meanwhile; appends are no change.
    pub async fn next(&mut self) -> Option<Result<(Vec<Item>, ReadPermit)>> {
        match &mut self.steps {
            Steps::List(steps) => steps.next().await,
            Steps::Tables(page) => {
                let step = page.next().await?;
                Some(
                    step.map(|(messages, permit)| {
                        (messages.into_iter().map(item).collect(), permit)
                    }),
                )
            }
        }
    }
}

impl ListSteps {
    async fn next(&mut self) -> Option<Result<(Vec<Item>, ReadPermit)>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        if self.unread.is_empty() {
            return None;
        }
        let permit = self.service.step_permit().await;
        let items = self.read().await;
        Some(items.map(|items| (items, permit)))
    }

    async fn read(&mut self) -> Result<Vec<Item>> {
        let (unread, now) = (self.unread.clone(), self.service.now());
        let list = self.service.list_step(&self.guest, unread, now).await?;
        let is_same = |list: &ListPage| {
            let is_there = list.first == self.unread.start && !list.items.is_empty();
            list.head.origin == self.origin && is_there
        };
        let ended = || {
            let context = "the list ended while it was read; ask again";
            Error::new(ErrorKind::Conflict, "service", "session", context)
        };
        let list = list.filter(is_same).ok_or_else(ended)?;
        self.unread.start = list.next();
        Ok(list.items)
    }
}

fn item(message: Message) -> Item {
    Item {
        role: message.role,
        content: message.content,
        timestamp: message.sent_at,
    }
}
