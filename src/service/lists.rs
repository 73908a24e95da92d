//! Keeping the lists in step with the tables.
//!
//! A list write is noted in the tables (`is_synced`) only once it is durable, so that after a crash or a power cut the
//! tables owe exactly what the lists may lack. The notes ride along with later batches. What a list lacks is rebuilt from
//! the tables, by one idempotent step that makes a guest's list right whatever state it is in ([`Service::mend`]).

use super::Service;
use crate::chat::{ConversationId, GuestId};
use crate::error::Result;
use crate::storage::database::{ChatKey, ListDebt, ListRow, Page, PageStart, Settled};
use crate::storage::list_cache::{Append, Applied, Head, Item, Origin};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Messages read and written at a time while a list is rebuilt.
const REBUILD_PAGE: usize = 1000;
/// Lists looked at at a time.
const SCAN_PAGE: usize = 256;
/// The wait after a failed try to mend; it doubles to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// How often a list may move on while it is being mended before the next wake takes over.
const MEND_ROUNDS: usize = 8;

/// What has been done to the lists and is not noted in the tables yet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    notes: Mutex<Notes>,
    /// Tells the mending task that a list lacks something.
    wake: Notify,
    /// Set while the list store fails: batches do not wait for it, the mending task tries it.
    suspended: AtomicBool,
}

#[derive(Debug, Default)]
struct Notes {
    /// Applied, but a power cut could take it back.
    applied: Vec<Settled>,
    /// Where a conversation is in `applied`, to keep one note for each.
    places: HashMap<ConversationId, usize>,
    /// Removed, but a power cut could bring it back.
    removed: Vec<GuestId>,
    /// Durable in the lists, to be noted with the next batch.
    durable: Vec<Settled>,
}

impl Ledger {
    pub(super) fn note_applied(&self, settled: Settled) {
        let mut notes = self.notes();
        let place = notes.places.get(&settled.conversation).copied();
        match place.map(|place| &mut notes.applied[place]) {
            Some(note) if note.next + settled.messages.len() as u64 == settled.next => {
                note.next = settled.next;
                note.messages.extend(settled.messages);
            }
            _ => {
                let place = notes.applied.len();
                notes.places.insert(settled.conversation, place);
                notes.applied.push(settled);
            }
        }
    }

    fn note_removed(&self, guest: GuestId) {
        self.notes().removed.push(guest);
    }

    /// Some of what is durable, about `messages` messages, for a batch to carry.
    pub(super) fn take_durable(&self, messages: usize) -> Vec<Settled> {
        let mut notes = self.notes();
        let mut taken = 0;
        let fits = notes.durable.iter().take_while(|settled| {
            let room = taken < messages;
            taken += settled.messages.len();
            room
        });
        let count = fits.count();
        notes.durable.drain(..count).collect()
    }

    pub(super) fn put_back_durable(&self, settled: Vec<Settled>) {
        self.notes().durable.extend(settled);
    }

    fn take_applied(&self) -> (Vec<Settled>, Vec<GuestId>) {
        let mut notes = self.notes();
        notes.places.clear();
        (
            std::mem::take(&mut notes.applied),
            std::mem::take(&mut notes.removed),
        )
    }

    /// Makes the mending task look at what the tables say the lists lack.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Whether batches should not try the list store at all.
    pub(super) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }

    /// Stops trying the list store with every batch until the mending task finds it well again.
    pub(super) fn suspend(&self, cause: &str) {
        if !self.suspended.swap(true, Ordering::Relaxed) {
            tracing::error!(
                step = "list",
                cause,
                "the list store failed; messages are saved and their lists follow later"
            );
        }
        self.wake();
    }

    fn resume(&self) {
        if self.suspended.swap(false, Ordering::Relaxed) {
            tracing::info!("the list store answers again; the lists are being brought up to date");
        }
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes list writes durable and notes them, again and again.
pub(super) async fn settle_loop(service: Service) {
    while service.pause(service.settings().settle_interval).await {
        if let Err(cause) = service.settle_round().await {
            tracing::error!(step = "settle", %cause, "list writes could not be noted; they are tried again");
        }
    }
}

/// Mends what the lists lack: at the start, and whenever a list write has failed.
pub(super) async fn mend_loop(service: Service) {
    let mut wait = FIRST_WAIT;
    loop {
        let again = match service.mend_all().await {
            Ok(()) => {
                wait = FIRST_WAIT;
                tokio::select! {
                    () = service.0.lists.wake.notified() => true,
                    () = service.stopped() => false,
                }
            }
            Err(cause) => {
                service.0.lists.suspend(&cause.to_string());
                tracing::warn!(step = "list", %cause, retry_in = ?wait, "the lists cannot be mended yet");
                let again = service.pause(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
                again
            }
        };
        if !again {
            return;
        }
    }
}

impl Service {
    /// Makes everything applied so far durable and notes it, without waiting for the interval.
    ///
    /// # Errors
    /// Those of the two stores; what could not be noted is found again by mending.
    pub async fn settle(&self) -> Result<()> {
        self.make_durable().await?;
        self.note_durable().await
    }

    /// One round of the interval: notes what no batch has carried since the last round, then makes the rest durable.
    async fn settle_round(&self) -> Result<()> {
        self.note_durable().await?;
        self.make_durable().await
    }

    async fn make_durable(&self) -> Result<()> {
        let (applied, removed) = self.0.lists.take_applied();
        if applied.is_empty() && removed.is_empty() {
            return Ok(());
        }
        if let Err(cause) = self.0.parts.lists.flush().await {
            // The notes are dropped: the tables still say that these lists lack something.
            self.0.lists.suspend(&cause.to_string());
            return Err(cause);
        }
        self.0.lists.put_back_durable(applied);
        if !removed.is_empty() {
            self.0.parts.database.removals_settled(removed).await?;
        }
        Ok(())
    }

    async fn note_durable(&self) -> Result<()> {
        let settled = self.0.lists.take_durable(usize::MAX);
        let tally = if settled.is_empty() {
            self.0.metrics.take_due()
        } else {
            self.0.metrics.take()
        };
        if settled.is_empty() && tally.is_empty() {
            return Ok(());
        }
        let database = &self.0.parts.database;
        let noted = database
            .settle(settled.clone(), tally.clone(), self.now())
            .await;
        if noted.is_err() {
            self.0.lists.put_back_durable(settled);
            self.0.metrics.put_back(tally);
            self.note_fatal();
        }
        noted
    }

    /// Removes a guest's list at once if the store lets us, else later; whether it is gone already.
    pub(super) async fn remove_list(&self, guest: GuestId) -> bool {
        if self.0.lists.is_suspended() {
            return false; // the tables remember that it must go
        }
        let removing = self.0.parts.lists.remove(vec![guest.clone()]);
        match tokio::time::timeout(self.settings().list_budget, removing).await {
            Ok(Ok(())) => {
                self.0.lists.note_removed(guest);
                true
            }
            Ok(Err(cause)) => {
                self.0.lists.suspend(&cause.to_string());
                false
            }
            Err(_) => {
                self.0.lists.suspend("it did not answer in time");
                false
            }
        }
    }

    /// Pays every debt of the tables to the lists.
    async fn mend_all(&self) -> Result<()> {
        self.0.parts.lists.health().await?;
        self.0.lists.resume();
        self.settle().await?;
        let incarnation = self.0.parts.lists.incarnation().await?;
        if self.0.parts.database.lists_incarnation().await? != Some(incarnation) {
            self.compare_all().await?;
            self.0
                .parts
                .database
                .set_lists_incarnation(incarnation)
                .await?;
        }
        let (mut mended, mut after) = (0_u64, None);
        loop {
            let debts = self
                .0
                .parts
                .database
                .list_debts(after, self.now(), SCAN_PAGE)
                .await?;
            let full = debts.len() == SCAN_PAGE;
            for debt in debts {
                let guest = match debt {
                    ListDebt::Behind(row) => {
                        after = Some(row.conversation);
                        row.guest
                    }
                    ListDebt::Gone(guest) => {
                        self.0.lists.note_removed(guest.clone()); // noted only after the flush below
                        guest
                    }
                };
                mended += u64::from(self.mend(&guest).await?);
            }
            self.settle().await?;
            if !full {
                break;
            }
        }
        if mended > 0 {
            tracing::info!(lists = mended, "lists brought up to date");
        }
        Ok(())
    }

    /// The list store is another one than last time: compares every list with the tables.
    async fn compare_all(&self) -> Result<()> {
        let (mut mended, mut after) = (0_u64, None);
        loop {
            let rows = self
                .0
                .parts
                .database
                .list_rows(after, self.now(), SCAN_PAGE)
                .await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.conversation);
            let guests = rows.iter().map(|row| row.guest.clone()).collect();
            let heads = self.0.parts.lists.heads(guests).await?;
            for (row, head) in rows.iter().zip(heads) {
                if !self.is_current(row, head.as_ref()) {
                    mended += u64::from(self.mend(&row.guest).await?);
                }
            }
        }
        if mended > 0 {
            tracing::warn!(
                lists = mended,
                "the list store was new or replaced; its lists were rebuilt from the tables"
            );
        }
        Ok(())
    }

    /// Makes a guest's list what the tables say, whatever it is now; whether anything had to be changed.
    pub(super) async fn mend(&self, guest: &GuestId) -> Result<bool> {
        let mut changed = false;
        for _ in 0..MEND_ROUNDS {
            let row = self.0.parts.database.list_row(guest, self.now()).await?;
            let head = self
                .0
                .parts
                .lists
                .heads(vec![guest.clone()])
                .await?
                .pop()
                .flatten();
            match (row, head) {
                (None, None) => return Ok(changed),
                (None, Some(_)) => self.0.parts.lists.remove(vec![guest.clone()]).await?,
                (Some(row), head) if self.is_current(&row, head.as_ref()) => {
                    self.note_listed(&row).await?;
                    return Ok(changed);
                }
                (Some(row), _) => self.rebuild(&row).await?,
            }
            changed = true;
        }
        self.0.lists.wake(); // it keeps moving under load; go on with the others first
        Ok(changed)
    }

    /// Whether a list has everything its conversation says it should have.
    pub(super) fn is_current(&self, row: &ListRow, head: Option<&Head>) -> bool {
        head.is_some_and(|head| {
            head.origin == self.origin(row.conversation)
                && head.from == row.window.from
                && head.next >= row.next
        })
    }

    async fn rebuild(&self, row: &ListRow) -> Result<()> {
        let mut first = row.window.from;
        while first < row.next {
            let Some(page) = self.window_page(row, first).await? else {
                return Ok(());
            };
            let list = Append {
                guest: row.guest.clone(),
                origin: self.origin(row.conversation),
                from: row.window.from,
                first,
                items: page,
                expires_at: row.window.expires_at,
            };
            let next = first + list.items.len() as u64;
            if first == row.window.from {
                self.0.parts.lists.replace(list).await?;
            } else if self.0.parts.lists.apply(vec![list].into()).await? == [Applied::Gap] {
                return Ok(()); // changed underneath; the next round of mending sees it
            }
            first = next;
        }
        Ok(())
    }

    /// Notes a list that was found complete, so that the tables stop owing it.
    async fn note_listed(&self, row: &ListRow) -> Result<()> {
        let mut first = row.synced.max(row.window.from);
        while first < row.next {
            let page = Page {
                limit: REBUILD_PAGE,
                from: PageStart::At(first),
            };
            let chat = ChatKey::Conversation(row.conversation);
            let Some(history) = self
                .0
                .parts
                .database
                .history(&chat, page, self.now())
                .await?
            else {
                break;
            };
            let listed = history
                .messages
                .into_iter()
                .take_while(|message| message.sequence < row.next);
            let messages: Vec<_> = listed.map(|message| message.id).collect();
            if messages.is_empty() {
                break;
            }
            first += messages.len() as u64;
            self.0.lists.note_applied(Settled {
                conversation: row.conversation,
                next: first,
                messages,
            });
        }
        Ok(())
    }

    async fn window_page(&self, row: &ListRow, first: u64) -> Result<Option<Vec<Item>>> {
        let page = Page {
            limit: REBUILD_PAGE,
            from: PageStart::At(first),
        };
        let chat = ChatKey::Conversation(row.conversation);
        let history = self
            .0
            .parts
            .database
            .history(&chat, page, self.now())
            .await?;
        let messages = history.map(|history| history.messages).unwrap_or_default();
        let items: Vec<_> = messages
            .into_iter()
            .map(|message| Item {
                role: message.role,
                content: message.content,
                timestamp: message.sent_at,
            })
            .collect();
        Ok(if items.is_empty() { None } else { Some(items) })
    }

    pub(super) fn origin(&self, conversation: ConversationId) -> Origin {
        Origin {
            epoch: self.0.parts.database.epoch(),
            conversation,
        }
    }
}
