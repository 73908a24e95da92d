//! The settings that are stored with the tables.

use super::MemoryDatabase;
use super::tables::MemoryTables;
use crate::database::{
    ListTtlChange, Persisted, PersistedSettings, ReschedulePage, RescheduledLists, SettingsStore,
    StoredSettings,
};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{Timestamp, Window};

#[async_trait]
impl SettingsStore for MemoryDatabase {
    async fn stored_settings(&self) -> Result<StoredSettings> {
        self.run("settings", |tables| tables.stored.clone())
    }

    async fn change_setting(
        &self,
        which: Persisted,
        wanted: PersistedSettings,
        _: Timestamp,
    ) -> Result<()> {
        self.run("settings", |tables| tables.change(which, &wanted))
    }

    async fn refresh_settings(&self) -> Result<Option<StoredSettings>> {
        Ok(None)
    }

    async fn retain_some(&self, _: usize) -> Result<bool> {
        Ok(false)
    }

    async fn lists_to_retime(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Option<ReschedulePage>> {
        self.run("lists_to_retime", |tables| {
            let retiming = tables.stored.retiming?;
            let ttl = tables.settings.list_ttl.0;
            let live = tables.chats_after(retiming.done).filter_map(|chat| {
                chat.live_window(now)?;
                Some(RescheduledLists {
                    guest: chat.guest.clone(),
                    conversation: chat.conversation.id,
                    next: chat.conversation.message_count,
                    expires_at: chat.conversation.accessed_at.plus(ttl),
                })
            });
            let lists = live.take(limit).collect();
            let version = tables.stored.version;
            Some(ReschedulePage {
                lists,
                at: now,
                version,
            })
        })
    }

    async fn note_retimed(&self, page: ReschedulePage) -> Result<()> {
        self.run("note_retimed", |tables| {
            if tables.stored.version != page.version {
                return;
            }
            let ttl = tables.settings.list_ttl.0;
            for list in &page.lists {
                let chat = tables.conversations.get_mut(&list.conversation);
                if let Some(chat) = chat
                    && let Some(window) = chat.live_window(page.at)
                {
                    chat.window = Some(Window {
                        expires_at: chat.conversation.accessed_at.plus(ttl),
                        ..window
                    });
                }
            }
            let last = page.lists.last();
            tables.stored.retimed_at = Some(page.at);
            tables.stored.retiming = last.map(|last| ListTtlChange {
                done: Some(last.conversation),
            });
        })
    }
}

impl MemoryTables {
    fn change(&mut self, which: Persisted, wanted: &PersistedSettings) {
        let Some(held) = &mut self.stored.held else {
            return;
        };
        held.set(which, wanted);
        self.stored.version += 1;
        self.settings.list_ttl = held.list_ttl;
        self.settings.retention = held.retention;
        self.settings.text_index = held.text_index;
        match which {
            Persisted::ListTtl => self.stored.retiming = Some(ListTtlChange { done: None }),
            Persisted::Retention => {
                let retention = held.retention;
                let guests = |chat: &&mut super::tables::ChatRow| chat.is_guests();
                for chat in self.conversations.values_mut().filter(guests) {
                    let row = &mut chat.conversation;
                    row.expires_at = retention.map(|span| row.accessed_at.plus(span));
                }
            }
            Persisted::TextIndex | Persisted::Embedder => {}
        }
    }
}
