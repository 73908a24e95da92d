//! One of the two databases, and its answers in a form that can be compared: conversation ids become the order in which
//! they were first seen, and the hash chain, which depends on them, is checked where it is read.

mod searches;

use crate::databases::held::Held;
use crate::databases::operations::{Operation, guests, model};
use crate::databases::sound::{assert_sound, counters, usage};
use guestbook::core::error::{Error, ErrorKind};
use guestbook::core::{
    Conversation, ConversationId, GuestId, MessageId, OwnerId, Platform, Timestamp, Ttl, window_of,
};
use guestbook::storage::Stores;
use guestbook::storage::database::{
    AuditScope, Batch, ChatKey, ConversationAudit, CounterDeltas, Group, History, ListRow,
    OutboxEntry, Outcome, PageRange, PageStart, Repair, SyncedRange, Unembedded, UsageAudit,
};
use std::fmt::Debug;
use std::sync::Arc;
use uuid::Uuid;

/// A page that holds everything.
const ALL: usize = 1_000_000;

/// A database, and the conversations it has shown.
pub(crate) struct Side {
    database: Stores,
    seen: Vec<ConversationId>,
    /// Ids that it made itself for messages, in the order in which they were first shown.
    made: Vec<String>,
    held: Held,
}

fn text(answer: impl Debug) -> String {
    format!("{answer:#?}")
}

/// Errors are compared by kind: their words are each backend's own.
fn kind(error: Error) -> ErrorKind {
    error.kind()
}

impl Side {
    pub(crate) fn new(database: Stores) -> Self {
        Self {
            database,
            seen: Vec::new(),
            made: Vec::new(),
            held: Held::default(),
        }
    }

    /// Does it; the answer.
    pub(crate) async fn run(&mut self, operation: &Operation, at: Timestamp) -> String {
        let answer = self.carry_out(operation, at).await;
        self.held.look(&*self.database.chats, at).await;
        self.without_made_ids(&answer)
    }

    /// A UUID of our own making begins with the time at which it was made.
    fn without_made_ids(&mut self, text: &str) -> String {
        let now = Uuid::now_v7().to_string();
        let (mut rest, mut replaced) = (text, String::new());
        while let Some(at) = rest.find(&now[..6]) {
            replaced.push_str(&rest[..at]);
            let is_made = rest.get(at + 8..at + 9) == Some("-");
            let length = if is_made { now.len() } else { 6 };
            let found = &rest[at..at + length];
            match self.made.iter().position(|made| made == found) {
                _ if !is_made => replaced.push_str(found),
                Some(order) => replaced.push_str(&format!("made {order}")),
                None => {
                    replaced.push_str(&format!("made {}", self.made.len()));
                    self.made.push(found.to_owned());
                }
            }
            rest = &rest[at + length..];
        }
        replaced + rest
    }

    async fn carry_out(&mut self, operation: &Operation, at: Timestamp) -> String {
        let database = self.database.clone();
        match operation.clone() {
            Operation::Record {
                groups,
                synced_ranges,
                deltas,
            } => self.record(groups, synced_ranges, deltas, at).await,
            Operation::History(guest, from, limit) => {
                let key = ChatKey::Guest(guest);
                self.history(&key, PageRange { limit, from }, at).await
            }
            Operation::HistoryById(n, from, limit) => {
                let key = ChatKey::Conversation(self.id(n));
                self.history(&key, PageRange { limit, from }, at).await
            }
            Operation::Conversations(owner, before, limit) => {
                let before = before.map(|n| self.id(n));
                let found = database.chats.conversations(&owner, before, limit).await;
                text(found.map(|all| self.conversations(all)).map_err(kind))
            }
            Operation::Erase(guest) => text(database.chats.erase(&guest, at).await.map_err(kind)),
            Operation::Migrate(guest, user) => text(
                database
                    .chats
                    .migrate(&guest, &user, at)
                    .await
                    .map_err(kind),
            ),
            Operation::MigrationFailed(guest, user) => {
                let failed = database
                    .chats
                    .migration_failed(&guest, &user, at, "a cause");
                text(failed.await.map_err(kind))
            }
            Operation::Expire => text(database.chats.expire(at, ALL).await.map_err(kind)),
            Operation::UsageAudit(owner) => text(
                database
                    .audit
                    .usage_audit(&owner)
                    .await
                    .map(usage)
                    .map_err(kind),
            ),
            Operation::Metrics => text(database.audit.metrics_audit().await.map_err(kind)),
            Operation::RepairChat(n) => self.repair_chat(n, at).await,
            Operation::RepairUsage(owner) => self.repair_usage(&owner, at).await,
            Operation::RepairMetrics => {
                let repaired = database.audit.repair(vec![Repair::Metrics], at).await;
                text(repaired.map_err(kind))
            }
            other => self.run_outbox(other, at).await,
        }
    }

    async fn run_outbox(&mut self, operation: Operation, at: Timestamp) -> String {
        let database = self.database.clone();
        match operation {
            Operation::Lapse => text(database.outbox.lapse(at, ALL).await.map_err(kind)),
            Operation::Settle(n, next, deltas) => {
                let synced_ranges = self.synced_ranges(n, next).await;
                text(
                    database
                        .outbox
                        .mark_synced(synced_ranges, deltas, at)
                        .await
                        .map_err(kind),
                )
            }
            Operation::PayRemoval(guest) => text(
                database
                    .outbox
                    .removals_done(vec![guest])
                    .await
                    .map_err(kind),
            ),
            Operation::OutboxEntries => self.outbox_entries(at).await,
            Operation::ListRow(guest) => self.list_row(&guest, at).await,
            Operation::ListRows(after, limit) => {
                let after = after.map(|n| self.id(n));
                let rows = database.outbox.list_rows(after, at, limit).await;
                let rows = rows.map(|rows| self.each(rows, Self::row));
                text(rows.map_err(kind))
            }
            Operation::Incarnation(incarnation) => {
                let set = database.outbox.set_lists_incarnation(incarnation).await;
                text((
                    set.map_err(kind),
                    database.outbox.lists_incarnation().await.map_err(kind),
                ))
            }
            other => self.run_vectors(other, at).await,
        }
    }

    async fn run_vectors(&mut self, operation: Operation, at: Timestamp) -> String {
        let database = self.database.clone();
        match operation {
            Operation::Pending(after, limit) => {
                let pending = database.vectors.vectors_pending(after, limit).await;
                let pending = pending.map(|all| self.each(all, Self::unembedded));
                text(pending.map_err(kind))
            }
            Operation::Missing(model, after, limit) => {
                let missing = database.vectors.vectors_missing(&model, after, limit).await;
                let missing = missing.map(|all| self.each(all, Self::unembedded));
                let count = database.vectors.vectors_missing_count(&model).await;
                text((missing.map_err(kind), count.map_err(kind)))
            }
            Operation::Update(model, updates) => {
                let updated = database.vectors.vectors_update(&model, updates, at).await;
                text(updated.map_err(kind))
            }
            other => self.run_search(other, at).await,
        }
    }

    async fn record(
        &mut self,
        groups: Vec<Group>,
        synced_ranges: Option<(usize, u64)>,
        deltas: CounterDeltas,
        at: Timestamp,
    ) -> String {
        let synced_ranges = match synced_ranges {
            Some((n, next)) => self.synced_ranges(n, next).await,
            None => Vec::new(),
        };
        let batch = Batch {
            at,
            groups,
            synced_ranges,
            deltas,
        };
        let outcomes = self.database.chats.record(Arc::new(batch)).await;
        let outcomes = outcomes.map(|all| self.each(all, Self::outcome));
        text(outcomes.map_err(kind))
    }

    /// The first messages of a conversation, as written to its list.
    async fn synced_ranges(&mut self, n: usize, next: u64) -> Vec<SyncedRange> {
        let Some(conversation_audit) = self.conversation_audit(n).await else {
            return Vec::new();
        };
        let messages = conversation_audit
            .messages
            .iter()
            .filter(|m| m.sequence < next);
        let messages: Vec<MessageId> = messages.map(|m| m.id).collect();
        vec![SyncedRange {
            conversation: conversation_audit.conversation.id,
            next: messages.len() as u64,
            messages,
        }]
    }

    async fn history(&mut self, key: &ChatKey, page: PageRange, now: Timestamp) -> String {
        let history = self.database.chats.history(key, page, now).await;
        if let Ok(Some(read)) = &history {
            self.held.hold(key, page, read);
        }
        let known = |History {
                         conversation,
                         messages,
                         version: _,
                     }| (self.conversation(conversation), messages);
        text(history.map(|found| found.map(known)).map_err(kind))
    }

    async fn outbox_entries(&mut self, now: Timestamp) -> String {
        let outbox_entries = self
            .database
            .outbox
            .outbox_entries(None, now, ALL)
            .await
            .unwrap();
        let (mut gone, mut behind) = (Vec::new(), Vec::new());
        for outbox_entry in outbox_entries {
            match outbox_entry {
                OutboxEntry::Gone(guest) => {
                    assert!(behind.is_empty(), "removals come first");
                    gone.push(guest);
                }
                OutboxEntry::Behind(row) => behind.push(self.row(row)),
            }
        }
        gone.sort();
        text((gone, behind))
    }

    async fn list_row(&mut self, guest: &GuestId, now: Timestamp) -> String {
        let row = self.database.outbox.list_row(guest, now).await;
        text(row.map(|row| row.map(|row| self.row(row))).map_err(kind))
    }

    async fn repair_chat(&mut self, n: usize, at: Timestamp) -> String {
        let Some(conversation_audit) = self.conversation_audit(n).await else {
            return "no conversation yet".into();
        };
        let conversation = conversation_audit.conversation.id;
        let tokens = conversation_audit
            .messages
            .iter()
            .map(|m| m.found_tokens)
            .sum();
        let mut repairs = vec![Repair::Counters {
            conversation,
            hash: conversation_audit.conversation.hash.clone(),
            message_count: conversation_audit.messages.len() as u64,
            total_tokens: tokens,
        }];
        if conversation_audit.conversation.platform == Platform::Guest {
            let created = conversation_audit
                .messages
                .iter()
                .map(|m| (m.sequence, m.created_at));
            let window = window_of(created, Ttl(crate::databases::HOUR)).filter(|w| w.is_live(at));
            repairs.push(Repair::Window {
                conversation,
                hash: conversation_audit.conversation.hash.clone(),
                window,
            });
            let in_window = |sequence| window.is_some_and(|w| w.from <= sequence);
            repairs.extend(
                conversation_audit
                    .messages
                    .iter()
                    .map(|message| Repair::Mapping {
                        message: message.id,
                        owner: conversation_audit.conversation.owner.clone(),
                        is_synced: in_window(message.sequence),
                    }),
            );
        }
        text(self.database.audit.repair(repairs, at).await.map_err(kind))
    }

    async fn repair_usage(&mut self, owner: &OwnerId, at: Timestamp) -> String {
        let audit = self.database.audit.usage_audit(owner).await.unwrap();
        let repaired = self
            .database
            .audit
            .repair(vec![Repair::Usage(audit)], at)
            .await;
        let after = self.database.audit.usage_audit(owner).await;
        text((repaired.map_err(kind), after.map(usage).map_err(kind)))
    }

    /// Everything that can be read, a text for each thing, after checking that it agrees with itself.
    pub(crate) async fn inspect(&mut self, now: Timestamp) -> Vec<String> {
        let mut found = vec![self.outbox_entries(now).await];
        let page = PageRange {
            limit: ALL,
            from: PageStart::At(0),
        };
        for guest in guests() {
            found.push(self.list_row(&guest, now).await);
            found.push(self.history(&ChatKey::Guest(guest), page, now).await);
        }
        let rows = self
            .database
            .outbox
            .list_rows(None, now, ALL)
            .await
            .unwrap();
        found.push(text(self.each(rows, Self::row)));
        for conversation_audit in self.conversation_audits().await {
            assert_sound(&conversation_audit);
            let conversation = self.conversation(conversation_audit.conversation);
            found.push(text((
                conversation,
                conversation_audit.window,
                conversation_audit.messages,
            )));
        }
        found.push(text(self.usage_audits().await));
        let metrics = self.database.audit.metrics_audit().await.unwrap();
        assert_eq!(metrics.entries, metrics.messages);
        found.push(text(metrics));
        let model = model("first");
        let missing = self
            .database
            .vectors
            .vectors_missing(&model, None, ALL)
            .await;
        found.push(text(self.each(missing.unwrap(), Self::unembedded)));
        let orphans = self.database.audit.orphans(ALL).await.unwrap();
        assert!(orphans.is_empty(), "{orphans:?}");
        found
            .iter()
            .map(|text| self.without_made_ids(text))
            .collect()
    }

    /// Page by page, each of a few messages.
    async fn conversation_audits(&mut self) -> Vec<ConversationAudit> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let scope = AuditScope::AllAfter(after);
            let page = self
                .database
                .audit
                .conversation_audits(scope, 7)
                .await
                .unwrap();
            all.extend(page.conversation_audits);
            after = page.next;
            if after.is_none() {
                return all;
            }
        }
    }

    async fn usage_audits(&mut self) -> Vec<UsageAudit> {
        let (mut all, mut after) = (Vec::<UsageAudit>::new(), None);
        loop {
            let page = self.database.audit.usage_audits(after.as_ref(), 2).await;
            let page = page.unwrap();
            let Some(last) = page.last() else { return all };
            after = Some(last.owner.clone());
            for audit in page {
                let audit = usage(audit);
                let row = audit.row.clone().unwrap_or_default();
                assert_eq!(counters(&row), counters(&audit.counted), "{audit:?}");
                all.push(audit);
            }
        }
    }

    async fn conversation_audit(&mut self, n: usize) -> Option<ConversationAudit> {
        let scope = AuditScope::Conversation(self.id(n));
        let page = self
            .database
            .audit
            .conversation_audits(scope, ALL)
            .await
            .unwrap();
        page.conversation_audits.into_iter().next()
    }

    /// The id this side gave to a conversation.
    fn id(&self, n: usize) -> ConversationId {
        match self.seen.len() {
            0 => ConversationId(Uuid::nil()),
            seen => self.seen[n % seen],
        }
    }

    /// The order in which a conversation was first seen, in the form of an id.
    fn order(&mut self, id: ConversationId) -> ConversationId {
        let known = self.seen.iter().position(|seen| *seen == id);
        let order = known.unwrap_or_else(|| {
            self.seen.push(id);
            self.seen.len() - 1
        });
        ConversationId(Uuid::from_u128(order as u128))
    }

    fn each<T>(&mut self, all: Vec<T>, one: impl Fn(&mut Self, T) -> T) -> Vec<T> {
        all.into_iter().map(|item| one(self, item)).collect()
    }

    fn conversations(&mut self, all: Vec<Conversation>) -> Vec<Conversation> {
        self.each(all, Self::conversation)
    }

    fn conversation(&mut self, conversation: Conversation) -> Conversation {
        Conversation {
            id: self.order(conversation.id),
            hash: "checked with the dossier".into(),
            ..conversation
        }
    }

    fn outcome(&mut self, mut outcome: Outcome) -> Outcome {
        if let Outcome::Stored(recorded) = &mut outcome {
            for one in recorded {
                one.conversation = self.order(one.conversation);
            }
        }
        outcome
    }

    fn row(&mut self, row: ListRow) -> ListRow {
        ListRow {
            conversation: self.order(row.conversation),
            ..row
        }
    }

    fn unembedded(&mut self, unembedded: Unembedded) -> Unembedded {
        Unembedded {
            conversation: self.order(unembedded.conversation),
            ..unembedded
        }
    }
}
