//! The outbox.

use super::MemoryDatabase;
use super::tables::{ChatRow, MemoryTables};
use crate::database::{CounterDeltas, ListRow, Outbox, OutboxEntry, SyncedRange};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, GuestId, MessageId, Timestamp};
use std::ops::Bound;
use uuid::Uuid;

#[async_trait]
impl Outbox for MemoryDatabase {
    fn epoch(&self) -> Uuid {
        self.content_epoch()
    }

    async fn outbox_entries(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>> {
        self.run("outbox_entries", |tables| {
            let gone = tables.removals.iter().cloned().map(OutboxEntry::Gone);
            let behind = tables
                .chats_after(after)
                .filter(|chat| chat.list_synced < chat.conversation.message_count)
                .filter_map(|chat| chat.list_row(now))
                .map(OutboxEntry::Behind);
            gone.chain(behind).take(limit).collect()
        })
    }

    async fn list_row(&self, guest: &GuestId, now: Timestamp) -> Result<Option<ListRow>> {
        self.run("list_row", |tables| tables.chat_of(guest)?.list_row(now))
    }

    async fn list_rows(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ListRow>> {
        self.run("list_rows", |tables| {
            let rows = tables.chats_after(after);
            let rows = rows.filter_map(|chat| chat.list_row(now));
            rows.take(limit).collect()
        })
    }

    async fn mark_synced(
        &self,
        synced_ranges: Vec<SyncedRange>,
        deltas: CounterDeltas,
        at: Timestamp,
    ) -> Result<()> {
        self.run("mark_synced", |tables| {
            tables.note_synced_ranges(&synced_ranges);
            if !deltas.is_empty() {
                let entries = tables.messages.len() as u64;
                tables.hours.advance(at, 0, &deltas, entries);
            }
        })
    }

    async fn removals_done(&self, guests: Vec<GuestId>) -> Result<()> {
        self.run("removals_settled", |tables| {
            for guest in &guests {
                tables.removals.remove(guest);
            }
        })
    }

    async fn lapse(&self, now: Timestamp, limit: usize) -> Result<usize> {
        self.run("lapse", |tables| tables.lapse(now, limit))
    }

    async fn lists_incarnation(&self) -> Result<Option<Uuid>> {
        self.run("lists_incarnation", |tables| tables.lists_incarnation)
    }

    async fn set_lists_incarnation(&self, incarnation: Uuid) -> Result<()> {
        self.run("set_lists_incarnation", |tables| {
            tables.lists_incarnation = Some(incarnation);
        })
    }
}

impl MemoryTables {
    /// Conversations, ascending by id, after the given one.
    pub(super) fn chats_after(
        &self,
        after: Option<ConversationId>,
    ) -> impl Iterator<Item = &ChatRow> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.conversations.range((start, Bound::Unbounded));
        range.map(|(_, chat)| chat)
    }

    /// Marks messages as synced. Only the current window counts: a list that was begun again, removed, or migrated meanwhile no
    /// longer has the rest. A list has no holes, so earlier messages are synced as well.
    pub(super) fn note_synced_ranges(&mut self, synced_ranges: &[SyncedRange]) {
        for range in synced_ranges {
            let chat = self.conversations.get_mut(&range.conversation);
            let Some(chat) = chat.filter(|chat| chat.is_guests()) else {
                continue;
            };
            let Some(window) = chat.window else { continue };
            if range.next > chat.conversation.message_count {
                continue;
            }
            let first = range.next.saturating_sub(range.messages.len() as u64);
            let unnoted = first.min(chat.list_synced).max(window.from);
            chat.list_synced = chat.list_synced.max(range.next);
            if unnoted < range.next {
                let listed = chat.sequences.range(unnoted..range.next);
                let listed: Vec<_> = listed.map(|(_, id)| *id).collect();
                for id in listed {
                    self.note_synced(id);
                }
            }
        }
    }

    fn note_synced(&mut self, id: MessageId) {
        let row = self.messages.get_mut(&id);
        if let Some(mapping) = row.and_then(|row| row.mapping.as_mut()) {
            mapping.is_synced = true;
        }
    }

    /// Marks lists as expired, the longest expired first.
    fn lapse(&mut self, now: Timestamp, limit: usize) -> usize {
        let chats = self.conversations.values().filter(|chat| chat.is_guests());
        let mut expired: Vec<_> = chats
            .filter_map(|chat| Some((chat.window?, chat.conversation.id)))
            .filter(|(window, _)| !window.is_live(now))
            .map(|(window, id)| (window.expires_at, id))
            .collect();
        expired.sort();
        expired.truncate(limit);
        for (_, id) in &expired {
            if let Some(chat) = self.conversations.get_mut(id) {
                chat.window = None;
                let messages: Vec<_> = chat.sequences.values().copied().collect();
                self.unsync(&messages);
            }
        }
        expired.len()
    }
}

impl ChatRow {
    fn list_row(&self, now: Timestamp) -> Option<ListRow> {
        Some(ListRow {
            guest: self.guest.clone(),
            conversation: self.conversation.id,
            window: self.live_window(now).filter(|_| !self.is_ended(now))?,
            next: self.conversation.message_count,
            synced: self.list_synced,
        })
    }
}
