//! The reads of verify, and the repairs of derived data.

use super::MemoryDatabase;
use super::tables::{ChatRow, MemoryTables, MessageRow, StoredVector};
use super::usage::touch;
use crate::database::{
    Audit, AuditScope, AuditedMessage, ConversationAudit, ConversationAuditPage, FoundMapping,
    FoundVector, MetricsAudit, Orphan, Repair, UsageAudit,
};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, OwnerId, Timestamp, Usage, content_hash, tokens};
use std::collections::{BTreeMap, BTreeSet};

/// Missing hours named at most.
const MISSING_HOURS_SHOWN: usize = 100;

#[async_trait]
impl Audit for MemoryDatabase {
    async fn conversation_audits(
        &self,
        scope: AuditScope,
        messages: usize,
    ) -> Result<ConversationAuditPage> {
        self.run("dossiers", |tables| {
            tables.conversation_audits(&scope, messages)
        })
    }

    async fn usage_audits(&self, after: Option<&OwnerId>, limit: usize) -> Result<Vec<UsageAudit>> {
        self.run("usage_audits", |tables| {
            let conversations = tables.conversations.values();
            let owners = conversations.map(|chat| &chat.conversation.owner);
            let owners: BTreeSet<_> = owners.chain(tables.usage.keys()).collect();
            let later = owners
                .into_iter()
                .filter(|owner| after.is_none_or(|after| *owner > after));
            let audits = later.take(limit).map(|owner| tables.usage_audit(owner));
            audits.collect()
        })
    }

    async fn usage_audit(&self, owner: &OwnerId) -> Result<UsageAudit> {
        self.run("usage_audit", |tables| tables.usage_audit(owner))
    }

    /// None: here derived data is part of its message.
    async fn orphans(&self, _limit: usize) -> Result<Vec<Orphan>> {
        self.run("orphans", |_| Vec::new())
    }

    async fn metrics_audit(&self) -> Result<MetricsAudit> {
        self.run("metrics_audit", |tables| tables.metrics_audit())
    }

    async fn metrics_missing(&self, hours: Vec<Timestamp>) -> Result<Vec<Timestamp>> {
        self.run("metrics_missing", |tables| {
            let missing = hours.into_iter().filter(|hour| !tables.hours.has(*hour));
            missing.collect()
        })
    }

    async fn repair(&self, repairs: Vec<Repair>, at: Timestamp) -> Result<()> {
        self.run("repair", |tables| {
            for repair in repairs {
                tables.repair(repair, at);
            }
        })
    }
}

impl MemoryTables {
    fn conversation_audits(&self, scope: &AuditScope, messages: usize) -> ConversationAuditPage {
        let chats: Vec<&ChatRow> = match scope {
            AuditScope::AllAfter(after) => return self.conversation_audit_page(*after, messages),
            AuditScope::Guest(guest) => {
                let chats = self.conversations.values();
                chats.filter(|chat| chat.guest == *guest).collect()
            }
            AuditScope::Conversation(id) => self.conversations.get(id).into_iter().collect(),
        };
        ConversationAuditPage {
            conversation_audits: chats
                .into_iter()
                .map(|chat| self.conversation_audit(chat))
                .collect(),
            next: None,
        }
    }

    fn conversation_audit_page(
        &self,
        after: Option<ConversationId>,
        messages: usize,
    ) -> ConversationAuditPage {
        let mut chats = self.chats_after(after).peekable();
        let (mut conversation_audits, mut read, mut next) = (Vec::new(), 0, None);
        while let Some(chat) = chats.next() {
            conversation_audits.push(self.conversation_audit(chat));
            read += chat.sequences.len();
            if read >= messages {
                next = chats.peek().map(|_| chat.conversation.id);
                break;
            }
        }
        ConversationAuditPage {
            conversation_audits,
            next,
        }
    }

    fn conversation_audit(&self, chat: &ChatRow) -> ConversationAudit {
        ConversationAudit {
            conversation: chat.conversation.clone(),
            window: chat.window,
            messages: self.rows(chat).map(MessageRow::audited).collect(),
        }
    }

    fn usage_audit(&self, owner: &OwnerId) -> UsageAudit {
        let mut counted = Usage::default();
        let chats = self.conversations.values();
        for chat in chats.filter(|chat| chat.conversation.owner == *owner) {
            for row in self.rows(chat) {
                counted.count(row.message.role, row.tokens);
            }
        }
        UsageAudit {
            owner: owner.clone(),
            row: self.usage.get(owner).cloned(),
            counted,
        }
    }

    /// The number of existing messages by the UTC hour in which they were stored.
    fn stored_by_hour(&self) -> BTreeMap<Timestamp, u64> {
        let mut hours = BTreeMap::new();
        for row in self.messages.values() {
            *hours.entry(row.message.created_at.hour()).or_default() += 1;
        }
        hours
    }

    fn metrics_audit(&self) -> MetricsAudit {
        let hours = self.stored_by_hour();
        let missing: Vec<_> = hours
            .keys()
            .copied()
            .filter(|hour| !self.hours.has(*hour))
            .collect();
        MetricsAudit {
            hours_expected: hours.len() as u64,
            hours_found: (hours.len() - missing.len()) as u64,
            missing: missing.into_iter().take(MISSING_HOURS_SHOWN).collect(),
            entries: self.hours.entries(),
            messages: self.messages.len() as u64,
            requests: self.hours.requests(),
        }
    }

    /// Applies one repair; what was deleted meanwhile is skipped.
    fn repair(&mut self, repair: Repair, at: Timestamp) {
        match repair {
            Repair::Counters {
                conversation,
                hash,
                message_count,
                total_tokens,
            } => {
                if let Some(chat) = self.unmoved(conversation, &hash) {
                    chat.conversation.message_count = message_count;
                    chat.conversation.total_tokens = total_tokens;
                }
            }
            Repair::Window {
                conversation,
                hash,
                window,
            } => {
                if let Some(chat) = self.unmoved(conversation, &hash) {
                    chat.window = window;
                }
            }
            Repair::Usage(audit) => self.repair_usage(audit, at),
            Repair::Mapping {
                message,
                owner,
                is_synced,
            } => {
                if let Some(row) = self.messages.get_mut(&message) {
                    row.mapping = Some(FoundMapping { owner, is_synced });
                }
            }
            Repair::Orphan(_) => {}
            Repair::Metrics => {
                for (hour, stored) in self.stored_by_hour() {
                    self.hours.insert_missing(hour, stored);
                }
                self.hours.set_entries(self.messages.len() as u64);
            }
        }
    }

    fn repair_usage(&mut self, UsageAudit { owner, counted, .. }: UsageAudit, at: Timestamp) {
        if counted.total_requests == 0 {
            self.usage.remove(&owner);
            return;
        }
        let row = self.usage.entry(owner).or_default();
        touch(row, at);
        row.total_requests = counted.total_requests + row.cache_hits + row.lookup_misses;
        row.cache_misses = counted.cache_misses + row.lookup_misses;
        row.total_input_tokens = counted.total_input_tokens;
        row.total_output_tokens = counted.total_output_tokens;
    }
}

impl MessageRow {
    fn audited(&self) -> AuditedMessage {
        let text = self.message.content.as_str();
        let note = self.note.as_ref();
        AuditedMessage {
            id: self.message.id,
            external_id: self.message.external_id.as_deref().map(str::to_owned),
            sequence: self.message.sequence,
            role: Some(self.message.role),
            stored_hash: Some(self.hash),
            found_hash: content_hash(text),
            stored_tokens: self.tokens,
            found_tokens: tokens(text),
            sent_at: self.message.sent_at,
            created_at: self.message.created_at,
            vector: self.vector.as_ref().map(StoredVector::found),
            vector_note: note.map(|note| (note.state, note.cause.clone())),
            mapping: self.mapping.clone(),
        }
    }
}

impl StoredVector {
    fn found(&self) -> FoundVector {
        FoundVector {
            model: self.model_name(),
            dimension: self.dimension(),
            bytes: self.bytes(),
        }
    }
}

impl MemoryTables {
    /// A conversation that is unchanged since its hash was read.
    fn unmoved(&mut self, conversation: ConversationId, hash: &str) -> Option<&mut ChatRow> {
        let chat = self.conversations.get_mut(&conversation);
        chat.filter(|chat| chat.conversation.hash == hash)
    }
}
