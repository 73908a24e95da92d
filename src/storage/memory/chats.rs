//! Reading, erasing and migrating chats.

use super::tables::{ChatRow, MemoryTables};
use super::usage::TakenUsage;
use crate::database::{
    ChatKey, CounterDeltas, Erased, FoundMapping, History, MessageSize, Migrated, PageRange,
    PageStart,
};
use guestbook_core::{
    Conversation, ConversationId, GuestId, MessageId, OwnerId, Platform, Timestamp, Usage,
};

impl MemoryTables {
    /// A page of a conversation that is there at `now`.
    pub(super) fn history(
        &self,
        chat: &ChatKey,
        page: PageRange,
        now: Timestamp,
    ) -> Option<History> {
        let chat = match chat {
            ChatKey::Guest(guest) => self.chat_of(guest),
            ChatKey::Conversation(id) => self.conversations.get(id),
        };
        let chat = chat.filter(|chat| !chat.is_ended(now))?;
        let ids = page_of(chat, page).into_iter();
        let rows = ids.filter_map(|id| self.messages.get(&id));
        Some(History {
            conversation: chat.conversation.clone(),
            messages: rows.map(|row| row.message.clone()).collect(),
            version: None,
        })
    }

    /// The sizes of a page's messages.
    pub(super) fn message_sizes(&self, id: ConversationId, page: PageRange) -> Vec<MessageSize> {
        let chat = self.conversations.get(&id);
        let ids = chat.map_or_else(Vec::new, |chat| page_of(chat, page));
        let rows = ids.iter().filter_map(|id| self.messages.get(id));
        rows.map(|row| MessageSize::from(&row.message)).collect()
    }

    /// A user's conversations, newest first. Ids ascend with time.
    pub(super) fn owned(
        &self,
        owner: &OwnerId,
        before: Option<ConversationId>,
        limit: usize,
    ) -> Vec<Conversation> {
        let older = |id: ConversationId| before.is_none_or(|before| id < before);
        let newest_first = self.conversations.iter().rev();
        newest_first
            .filter(|(id, chat)| older(**id) && !chat.is_guests())
            .map(|(_, chat)| &chat.conversation)
            .filter(|conversation| conversation.owner == *owner)
            .take(limit)
            .cloned()
            .collect()
    }

    /// Erases everything of a guest.
    pub(super) fn erase(&mut self, guest: &GuestId, at: Timestamp) -> Erased {
        let mut erased = Erased::default();
        let mut counted = Usage::default();
        let chat = self.guests.remove(guest);
        if let Some(chat) = chat.and_then(|id| self.conversations.remove(&id)) {
            counted = self.counted(&chat);
            erased.conversations = 1;
            erased.add(self.remove_messages(&chat));
            self.removals.insert(guest.clone());
            let entries = self.messages.len() as u64;
            self.hours
                .advance(at, 0, &CounterDeltas::default(), entries);
        }
        if let TakenUsage::Row(_) = self.take_usage(&guest.into(), counted, at) {
            erased.usage = 1;
        }
        erased.prompts = self.erase_prompts(guest);
        erased
    }

    fn remove_messages(&mut self, chat: &ChatRow) -> Erased {
        let mut erased = Erased::default();
        let ids = chat.sequences.values();
        for row in ids.filter_map(|id| self.messages.remove(id)) {
            if let Some(external) = row.message.external_id {
                self.externals.remove(&(row.conversation, external));
            }
            erased.messages += 1;
            erased.embeddings += u64::from(row.vector.is_some());
            erased.mappings += u64::from(row.mapping.is_some());
        }
        erased
    }

    /// Erases chats that retention has ended, the longest ended first.
    pub(super) fn expire(&mut self, now: Timestamp, limit: usize) -> Erased {
        let chats = self.conversations.values();
        let ended = chats.filter(|chat| chat.is_guests() && chat.is_ended(now));
        let mut ended: Vec<_> = ended
            .map(|chat| (chat.conversation.expires_at, chat.guest.clone()))
            .collect();
        ended.sort();
        let mut erased = Erased::default();
        for (_, guest) in ended.into_iter().take(limit) {
            erased.add(self.erase(&guest, now));
        }
        erased
    }

    /// Migrates a guest's chat to a user. A chat that retention has ended stays ended.
    pub(super) fn migrate(&mut self, guest: &GuestId, user: &OwnerId, at: Timestamp) -> Migrated {
        let live = self.chat_of(guest).filter(|chat| !chat.is_ended(at));
        let id = live.map(|chat| chat.conversation.id);
        let migrated = id.map_or_else(Migrated::default, |id| self.hand_over(id, user, at));
        self.erase_prompts(guest);
        let Migrated {
            conversations,
            messages,
        } = migrated;
        self.migrations.push(format!(
            "{at} completed: {guest} to {user}: {conversations} conversations, {messages} messages"
        ));
        migrated
    }

    fn hand_over(&mut self, id: ConversationId, user: &OwnerId, at: Timestamp) -> Migrated {
        let Some(mut chat) = self.conversations.remove(&id) else {
            return Migrated::default();
        };
        self.guests.remove(&chat.guest);
        self.removals.insert(chat.guest.clone());
        let guest = OwnerId::from(&chat.guest);
        if guest != *user {
            let counted = self.counted(&chat);
            match self.take_usage(&guest, counted, at) {
                TakenUsage::Row(usage) | TakenUsage::Part(usage) => {
                    self.add_usage(user, &usage, at)
                }
                TakenUsage::Nothing => {}
            }
        }
        for message in chat.sequences.values() {
            self.hand_over_mapping(*message, user);
        }
        chat.conversation.owner = user.clone();
        chat.conversation.platform = Platform::Authenticated;
        chat.conversation.expires_at = None;
        chat.window = None;
        let messages = chat.sequences.len() as u64;
        self.conversations.insert(id, chat);
        Migrated {
            conversations: 1,
            messages,
        }
    }

    fn hand_over_mapping(&mut self, message: MessageId, user: &OwnerId) {
        let row = self.messages.get_mut(&message);
        if let Some(mapping) = row.and_then(|row| row.mapping.as_mut()) {
            *mapping = FoundMapping {
                owner: user.clone(),
                is_synced: false,
            };
        }
    }
}

/// The ids of a page, in ascending order of sequence.
fn page_of(chat: &ChatRow, page: PageRange) -> Vec<MessageId> {
    let ids = &chat.sequences;
    match page.from {
        PageStart::At(first) => ids
            .range(first..)
            .take(page.limit)
            .map(|(_, id)| *id)
            .collect(),
        PageStart::Below(end) => {
            let below = ids.range(..end).rev().take(page.limit);
            let mut page: Vec<_> = below.map(|(_, id)| *id).collect();
            page.reverse();
            page
        }
    }
}
