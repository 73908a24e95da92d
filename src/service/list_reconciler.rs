//! Reconciling session lists: one idempotent step rebuilds a guest's list from the tables, whatever its state.

use super::Service;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, GuestId};
use guestbook_failpoint as failpoint;
use guestbook_storage::database::{
    ChatKey, ListRow, OutboxEntry, PageRange, PageStart, SyncedRange,
};
use guestbook_storage::list_cache::{Append, Applied, Head, Item, NewLife, Origin};
use std::collections::HashSet;
use uuid::Uuid;

/// Messages read and written per step of a rebuild.
const REBUILD_PAGE: usize = 1000;
/// Lists compared per page.
const SCAN_PAGE: usize = 256;
/// Lists reconciled concurrently.
const CONCURRENT_REBUILDS: usize = 8;
/// How often a list may change during its reconciliation before it is left to the next wake-up.
const MAX_ROUNDS: usize = 8;

impl Service {
    /// Drains the outbox into the lists. Also compares every list with the tables, unless that was done since the start with
    /// this incarnation of the list store and the tables know no other. Returns the store's incarnation.
    pub(super) async fn reconcile_all(&self, compared: Option<Uuid>) -> Result<Uuid> {
        self.0.parts.lists.health().await?;
        self.0.lists.resume();
        self.carry_out_settings().await?;
        self.mark_synced().await?;
        for guest in self.0.lists.suspect() {
            self.0.parts.lists.remove(vec![guest.clone()]).await?;
            self.reconcile(&guest).await?;
            self.0.lists.clear_suspect(&guest);
        }
        self.drain_outbox().await?;
        let incarnation = self.0.parts.lists.incarnation().await?;
        let known = self.stores().outbox.lists_incarnation().await?;
        let is_asked_for = self.0.lists.take_compare();
        if is_asked_for || compared != Some(incarnation) || known != Some(incarnation) {
            let listed = self.compare_all().await?;
            if known != Some(incarnation) {
                self.remove_orphaned_lists(&listed).await?;
            }
            // Lists marked durable were just rebuilt, so no outbox entry covers them: without this flush a power cut would
            // lose the rebuilt lists unnoticed.
            self.0.parts.lists.flush().await?;
        }
        if known != Some(incarnation) && !self.is_stopping() {
            self.stores()
                .outbox
                .set_lists_incarnation(incarnation)
                .await?;
        }
        Ok(incarnation)
    }

    async fn drain_outbox(&self) -> Result<()> {
        let (mut reconciled, mut after) = (0_u64, None);
        loop {
            let outbox_entries = self
                .stores()
                .outbox
                .outbox_entries(after, self.now(), SCAN_PAGE)
                .await?;
            let full = outbox_entries.len() == SCAN_PAGE;
            let (mut guests, mut gone) = (Vec::with_capacity(outbox_entries.len()), Vec::new());
            for outbox_entry in outbox_entries {
                match outbox_entry {
                    OutboxEntry::Behind(row) => {
                        after = Some(row.conversation);
                        guests.push(row.guest);
                    }
                    OutboxEntry::Gone(guest) => {
                        gone.push(guest.clone());
                        guests.push(guest);
                    }
                }
            }
            let owed = !guests.is_empty();
            reconciled += self.reconcile_each(guests).await?;
            if owed {
                failpoint::reach("replay.mid");
            }
            for guest in gone {
                self.0.lists.note_removed(guest); // only now: the next `mark_synced` clears the outbox entry
            }
            self.mark_synced().await?;
            if !full || self.is_stopping() {
                break;
            }
        }
        if reconciled > 0 {
            tracing::info!(lists = reconciled, "lists reconciled");
        }
        Ok(())
    }

    /// Compares the list of every guest that should have one with the tables; returns these guests.
    async fn compare_all(&self) -> Result<HashSet<GuestId>> {
        let (mut reconciled, mut after) = (0_u64, None);
        let mut listed = HashSet::new();
        loop {
            let rows = self
                .stores()
                .outbox
                .list_rows(after, self.now(), SCAN_PAGE)
                .await?;
            let Some(last) = rows.last().filter(|_| !self.is_stopping()) else {
                break;
            };
            after = Some(last.conversation);
            let guests: Vec<_> = rows.iter().map(|row| row.guest.clone()).collect();
            listed.extend(guests.iter().cloned());
            let heads = self.0.parts.lists.heads(guests).await?;
            self.retime_each(&rows, &heads).await?;
            let wrong = rows.iter().zip(heads).filter(|(row, head)| {
                let equal = head.is_some_and(|head| head.next == row.next);
                !equal || !self.is_current(row, head.as_ref())
            });
            let wrong = wrong.map(|(row, _)| row.guest.clone()).collect();
            reconciled += self.reconcile_each(wrong).await?;
        }
        if reconciled > 0 {
            tracing::warn!(
                lists = reconciled,
                "rebuilt lists that differed from the tables"
            );
        }
        Ok(listed)
    }

    /// Updates the expiry of lists that are otherwise current: another node has changed the list TTL.
    async fn retime_each(&self, rows: &[ListRow], heads: &[Option<Head>]) -> Result<()> {
        let at = self.now();
        let wrong = rows.iter().zip(heads).filter_map(|(row, head)| {
            let head = head.filter(|head| self.is_current(row, Some(head)))?;
            let is_off = head.next == row.next && head.expires_at != row.window.expires_at;
            is_off.then(|| NewLife {
                guest: row.guest.clone(),
                origin: head.origin,
                next: head.next,
                expires_at: row.window.expires_at,
                at,
            })
        });
        let wrong: Vec<_> = wrong.collect();
        match wrong.is_empty() {
            true => Ok(()),
            false => self.0.parts.lists.retime(wrong).await,
        }
    }

    /// Removes the lists of guests that should have none: a store unknown to the tables may have been filled from newer tables,
    /// or from others.
    async fn remove_orphaned_lists(&self, listed: &HashSet<GuestId>) -> Result<()> {
        let (mut reconciled, mut after) = (0_u64, None);
        while !self.is_stopping() {
            let page = self.0.parts.lists.guests(after.as_ref(), SCAN_PAGE).await;
            let guests = page.unwrap_or_else(|cause| {
                // No reason to stop using the lists: no read is served from an orphaned list, and it expires.
                tracing::warn!(step = "list", %cause, "failed to look for orphaned lists");
                Vec::new()
            });
            let Some(last) = guests.last() else { break };
            after = Some(last.clone());
            let orphans = guests.into_iter().filter(|guest| !listed.contains(guest));
            reconciled += self.reconcile_each(orphans.collect()).await?;
        }
        if reconciled > 0 {
            tracing::warn!(lists = reconciled, "removed orphaned lists");
        }
        Ok(())
    }

    /// Reconciles several lists concurrently, since a remote store is mostly latency; returns how many had to be changed.
    async fn reconcile_each(&self, guests: Vec<GuestId>) -> Result<u64> {
        let rebuilds = stream::iter(guests).map(|guest| {
            let service = self.clone();
            async move { service.reconcile(&guest).await }
        });
        let changed: Vec<bool> = rebuilds
            .buffer_unordered(CONCURRENT_REBUILDS)
            .try_collect()
            .await?;
        Ok(changed.into_iter().map(u64::from).sum())
    }

    /// Makes a guest's list match the tables, whatever its state; returns whether anything had to be changed.
    pub(super) async fn reconcile(&self, guest: &GuestId) -> Result<bool> {
        let (mut changed, mut rebuilt) = (false, None);
        for _ in 0..MAX_ROUNDS {
            let row = self.stores().outbox.list_row(guest, self.now()).await?;
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
                (Some(row), Some(head)) if self.is_current(&row, Some(&head)) => {
                    if !self.is_ahead(guest, &head).await? {
                        self.note_listed(&row).await?;
                        return Ok(changed);
                    }
                    // Only an older copy of the tables can know less than the list: the list's extra messages are of another
                    // history.
                    self.0.lists.mark_suspect(guest.clone());
                    return Ok(changed);
                }
                (Some(row), _) if rebuilt.as_ref() == Some(&row) => {
                    // Not caused by load: the messages contradict the conversation's row. A retry would only burn CPU.
                    tracing::error!(step = "list", %guest, "the list cannot be rebuilt from the tables; run `guestbook verify`");
                    return Ok(changed);
                }
                (Some(row), _) => {
                    self.rebuild(&row).await?;
                    rebuilt = Some(row);
                }
            }
            changed = true;
        }
        self.0.lists.wake(); // the list keeps changing under load; reconcile the others first
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

    /// Whether a list has more than the tables. Messages are committed before they are listed, so tables read after the list
    /// know at least as much.
    pub(super) async fn is_ahead(&self, guest: &GuestId, head: &Head) -> Result<bool> {
        let row = self.stores().outbox.list_row(guest, self.now()).await?;
        Ok(row.is_some_and(|row| {
            head.origin == self.origin(row.conversation) && head.next > row.next
        }))
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
                at: self.now(),
            };
            let next = first + list.items.len() as u64;
            if first == row.window.from {
                self.0.parts.lists.replace(list).await?;
            } else if self.0.parts.lists.apply(vec![list].into()).await? == [Applied::Gap] {
                return Ok(()); // changed meanwhile; the next round sees it
            }
            failpoint::reach("replace.mid");
            first = next;
        }
        Ok(())
    }

    /// Marks a complete list as synced, which clears its outbox entry.
    async fn note_listed(&self, row: &ListRow) -> Result<()> {
        let mut first = row.synced.max(row.window.from);
        while first < row.next {
            let page = PageRange {
                limit: REBUILD_PAGE,
                from: PageStart::At(first),
            };
            let chat = ChatKey::Conversation(row.conversation);
            let Some(history) = self.stores().chats.history(&chat, page, self.now()).await? else {
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
            self.0.lists.note_applied(SyncedRange {
                conversation: row.conversation,
                next: first,
                messages,
            });
        }
        Ok(())
    }

    async fn window_page(&self, row: &ListRow, first: u64) -> Result<Option<Vec<Item>>> {
        let page = PageRange {
            limit: REBUILD_PAGE,
            from: PageStart::At(first),
        };
        let chat = ChatKey::Conversation(row.conversation);
        let history = self.stores().chats.history(&chat, page, self.now()).await?;
        let messages = history.map(|history| history.messages).unwrap_or_default();
        let items: Vec<_> = messages
            .into_iter()
            .take_while(|message| message.sequence < row.next)
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
            epoch: self.stores().outbox.epoch(),
            conversation,
        }
    }
}
