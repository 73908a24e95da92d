//! Checks a conversation and all its derived rows.

use super::check::{AuditContext, AuditTotals, AuditedList, RepairAction};
use super::report::{AuditedTable, TableReport};
use super::windows::live_window;
use guestbook_core::{ClientId, EmbeddingState, GuestId, Window, chain_link, chain_start};
use guestbook_storage::database::{AuditedMessage, ConversationAudit, Orphan, Repair};
use guestbook_storage::list_cache::Origin;
use std::collections::HashSet;

/// Whether retention has ended this conversation: it is hidden, and the sweep will remove it with its list.
pub(super) fn is_retired(conversation_audit: &ConversationAudit, context: &AuditContext) -> bool {
    conversation_audit
        .conversation
        .expires_at
        .is_some_and(|end| end <= context.now)
}

impl AuditTotals {
    /// Counts a conversation if nothing about it is wrong; otherwise leaves the totals unchanged.
    pub(super) fn try_conversation_audit(
        &mut self,
        conversation_audit: &ConversationAudit,
        listed: &AuditedList,
        context: &AuditContext,
    ) -> bool {
        let mut one = Self::default();
        one.conversation_audit(conversation_audit, listed, context);
        let well = one.tables.iter().all(TableReport::is_ok);
        if well {
            self.merge(one);
        }
        well
    }

    /// Counts a conversation, with everything that is wrong about it.
    pub(super) fn conversation_audit(
        &mut self,
        conversation_audit: &ConversationAudit,
        listed: &AuditedList,
        context: &AuditContext,
    ) {
        if is_retired(conversation_audit, context) {
            return; // hidden already; the sweep removes it
        }
        let window = live_window(conversation_audit, context);
        self.hours.extend(
            conversation_audit
                .messages
                .iter()
                .map(|message| message.created_at.hour()),
        );
        self.chain(conversation_audit);
        self.window_row(conversation_audit, window, context);
        self.list(conversation_audit, window, listed, context);
        self.ids(conversation_audit);
        for message in &conversation_audit.messages {
            self.message(conversation_audit, message);
            self.vector(conversation_audit, message, context);
            let has_it = has_message(listed, message);
            self.mapping(conversation_audit, message, window, has_it, context);
        }
    }

    /// Checks dense sequences, the counters, the hash chain.
    fn chain(&mut self, conversation_audit: &ConversationAudit) {
        let (conversation, messages) = (
            &conversation_audit.conversation,
            &conversation_audit.messages,
        );
        self.count(AuditedTable::Conversations, 1, 1);
        self.count(
            AuditedTable::Messages,
            conversation.message_count,
            messages.len() as u64,
        );
        let mut head = chain_start(conversation.id);
        for (message, expected) in messages.iter().zip(0..) {
            if message.sequence != expected {
                let reason = format!(
                    "messages are missing: {expected} should come next, {} does",
                    message.sequence
                );
                return self.differ(AuditedTable::Messages, conversation_audit, None, reason);
            }
            if let Some(role) = message.role {
                head = chain_link(
                    head,
                    message.sequence,
                    role,
                    message.found_hash,
                    message.sent_at,
                );
            }
        }
        let is_whole = head.to_hex() == conversation.hash;
        if !is_whole {
            let reason = "the hash chain does not end where the row says: a message was lost, changed or reordered";
            self.differ(
                AuditedTable::Conversations,
                conversation_audit,
                None,
                reason.into(),
            );
        }
        let tokens = messages.iter().map(|message| message.found_tokens).sum();
        let count = messages.len() as u64;
        if (conversation.message_count, conversation.total_tokens) != (count, tokens) {
            let reason = format!(
                "message_count {} and total_tokens {} should be {count} and {tokens}",
                conversation.message_count, conversation.total_tokens
            );
            self.differ(
                AuditedTable::Conversations,
                conversation_audit,
                None,
                reason,
            );
        }
        // Where messages are lost, a larger stored count is not wrong: it is the trace of them.
        if is_whole && (conversation.message_count, conversation.total_tokens) != (count, tokens) {
            self.fixes.push(RepairAction::Row(Repair::Counters {
                conversation: conversation.id,
                hash: conversation.hash.clone(),
                message_count: count,
                total_tokens: tokens,
            }));
        }
    }

    /// Checks the window in the conversation's row.
    fn window_row(
        &mut self,
        conversation_audit: &ConversationAudit,
        implied: Option<Window>,
        context: &AuditContext,
    ) {
        let stored = conversation_audit
            .window
            .filter(|window| window.is_live(context.now));
        if stored == implied {
            return;
        }
        let reason = "the row's list_from and list_expires_at are not what its messages imply";
        self.differ(
            AuditedTable::Conversations,
            conversation_audit,
            None,
            reason.into(),
        );
        self.fixes.push(RepairAction::Row(Repair::Window {
            conversation: conversation_audit.conversation.id,
            hash: conversation_audit.conversation.hash.clone(),
            window: implied,
        }));
    }

    /// Checks the list against the window and messages that the rows imply.
    fn list(
        &mut self,
        conversation_audit: &ConversationAudit,
        window: Option<Window>,
        listed: &AuditedList,
        context: &AuditContext,
    ) {
        let Some(window) = window else { return };
        let should = conversation_audit
            .messages
            .iter()
            .filter(|message| message.sequence >= window.from);
        let in_flight = |message: &&AuditedMessage| {
            message.created_at >= context.began && !has_message(listed, message)
        };
        let should: Vec<_> = should.filter(|message| !in_flight(message)).collect();
        let has = should
            .iter()
            .filter(|message| has_message(listed, message))
            .count();
        self.count(AuditedTable::Lists, should.len() as u64, has as u64);
        let reason = match listed {
            AuditedList::Unreadable(cause) => {
                self.unreadable(cause);
                format!("the list cannot be read: {cause}")
            }
            AuditedList::List {
                is_ahead: false, ..
            }
            | AuditedList::None
                if should.is_empty() =>
            {
                return;
            } // everything is in flight
            AuditedList::None => "there is no list".into(),
            AuditedList::List { origin, .. }
                if *origin != origin_of(conversation_audit, context) =>
            {
                "the list is a view of an earlier chat or of another database".into()
            }
            AuditedList::List { from, .. } if *from != window.from => {
                format!("the list begins at {from}, and should at {}", window.from)
            }
            AuditedList::List { is_ahead: true, .. } => {
                "the list has more messages than the chat (was an older database put back?)".into()
            }
            AuditedList::List { .. } if has == should.len() => return,
            AuditedList::List { .. } => format!(
                "the list lacks or differs in {} of its messages",
                should.len() - has
            ),
        };
        self.differ(AuditedTable::Lists, conversation_audit, None, reason);
        // A list is not rebuilt from altered contents: it may hold the only originals.
        let is_intact = |message: &AuditedMessage| message.stored_hash == Some(message.found_hash);
        if let Ok(guest) = GuestId::parse_stored(conversation_audit.conversation.owner.as_str())
            && conversation_audit.messages.iter().all(is_intact)
        {
            self.fixes.push(RepairAction::List(guest));
        }
    }

    /// Checks that each message has a public id of its own.
    fn ids(&mut self, conversation_audit: &ConversationAudit) {
        let messages = &conversation_audit.messages;
        if messages.iter().all(|message| message.external_id.is_none()) {
            return;
        }
        let own = messages.iter().map(|message| message.id.to_string());
        let mut seen: HashSet<_> = own.collect();
        for message in messages {
            let Some(id) = &message.external_id else {
                continue;
            };
            let reason = if ClientId::parse(id).is_err() {
                "its external_id is none that a client could have sent"
            } else if !seen.insert(id.clone()) {
                "its external_id is the id of another message of the chat"
            } else {
                continue;
            };
            self.differ(
                AuditedTable::Messages,
                conversation_audit,
                Some(message),
                reason.into(),
            );
        }
    }

    fn message(&mut self, conversation_audit: &ConversationAudit, message: &AuditedMessage) {
        if message.role.is_none() {
            self.differ(
                AuditedTable::Messages,
                conversation_audit,
                Some(message),
                "its role is no known word".into(),
            );
        }
        if message.stored_hash != Some(message.found_hash) {
            self.differ(
                AuditedTable::Messages,
                conversation_audit,
                Some(message),
                "its content is not what message_hash says".into(),
            );
        }
        if message.stored_tokens != message.found_tokens {
            let reason = format!(
                "tokens is {} and should be {}",
                message.stored_tokens, message.found_tokens
            );
            self.differ(
                AuditedTable::Messages,
                conversation_audit,
                Some(message),
                reason,
            );
        }
    }

    /// Checks for one vector per message, of the current model and dimension, or a recorded failure.
    fn vector(
        &mut self,
        conversation_audit: &ConversationAudit,
        message: &AuditedMessage,
        context: &AuditContext,
    ) {
        let Some(model) = &context.model else {
            let found = u64::from(message.vector.is_some());
            return self.count(AuditedTable::Embeddings, found, found); // without an embedder there is nothing to expect
        };
        let nothing = matches!(message.vector_note, Some((EmbeddingState::Nothing, _)));
        if nothing && message.vector.is_none() {
            return;
        }
        let reason = match (&message.vector, &message.vector_note) {
            (Some(vector), _) if vector.model != model.as_str() => {
                format!(
                    "the vector is of {}, the model is {}; run `guestbook reembed`",
                    vector.model,
                    model.as_str()
                )
            }
            (Some(vector), _)
                if (vector.bytes, vector.dimension) != (context.dimension, context.dimension) =>
            {
                let reason = format!(
                    "the vector has {} bytes and embedding_dim {}, the model {} dimensions",
                    vector.bytes, vector.dimension, context.dimension
                );
                // With the right model name it would never be recomputed: deleting it makes room for a new one.
                self.fixes.push(RepairAction::Row(Repair::Orphan(Orphan {
                    table: "cache_embeddings",
                    id: message.id.to_string(),
                    reason: reason.clone(),
                })));
                reason
            }
            (Some(_), _) => return self.count(AuditedTable::Embeddings, 1, 1),
            (None, Some((state, cause))) => {
                format!("the vector is {}: {}", state.as_str(), or_unknown(cause))
            }
            (None, None) => "there is no vector; run `guestbook reembed`".into(),
        };
        self.count(AuditedTable::Embeddings, 1, 0);
        self.differ(
            AuditedTable::Embeddings,
            conversation_audit,
            Some(message),
            reason,
        );
        self.fixes.push(RepairAction::Vectors);
    }

    /// Checks for one mapping per message, owned by the conversation's owner, synced exactly when the list has the message.
    fn mapping(
        &mut self,
        conversation_audit: &ConversationAudit,
        message: &AuditedMessage,
        window: Option<Window>,
        has_it: bool,
        context: &AuditContext,
    ) {
        let should = window.is_some_and(|window| window.from <= message.sequence) && has_it;
        // A list that has just expired stays marked until the next sweep.
        let lapsing = window.is_none() && conversation_audit.window.is_some();
        let in_flight = message.created_at >= context.began;
        let owner = &conversation_audit.conversation.owner;
        // The state after the list is rebuilt, which a repair does before the mappings.
        let then =
            window.is_some_and(|window| window.from <= message.sequence) && (has_it || !in_flight);
        let fix = || {
            RepairAction::Row(Repair::Mapping {
                message: message.id,
                owner: owner.clone(),
                is_synced: then,
            })
        };
        let reason = match &message.mapping {
            None => "there is no mapping".to_owned(),
            Some(mapping) if mapping.owner != *owner => {
                format!("it belongs to {}, the chat to {owner}", mapping.owner)
            }
            Some(mapping) if mapping.is_synced != should && !lapsing && !in_flight => {
                match should {
                    true => "is_synced is false, though the list has the message".to_owned(),
                    false => {
                        "is_synced is true, though the list does not have the message".to_owned()
                    }
                }
            }
            Some(mapping) => {
                if then && !mapping.is_synced && !in_flight {
                    self.fixes.push(fix()); // the mapping is right now, but not once the list is rebuilt
                }
                return self.count(AuditedTable::Mappings, 1, 1);
            }
        };
        self.count(
            AuditedTable::Mappings,
            1,
            u64::from(message.mapping.is_some()),
        );
        self.differ(
            AuditedTable::Mappings,
            conversation_audit,
            Some(message),
            reason,
        );
        self.fixes.push(fix());
    }
}

fn origin_of(conversation_audit: &ConversationAudit, context: &AuditContext) -> Origin {
    Origin {
        epoch: context.epoch,
        conversation: conversation_audit.conversation.id,
    }
}

fn has_message(listed: &AuditedList, message: &AuditedMessage) -> bool {
    let AuditedList::List { from, items, .. } = listed else {
        return false;
    };
    let place = message
        .sequence
        .checked_sub(*from)
        .and_then(|place| usize::try_from(place).ok());
    let item = place.and_then(|place| items.get(place));
    item.is_some_and(|(role, hash, sent_at)| {
        Some(*role) == message.role && *hash == message.found_hash && *sent_at == message.sent_at
    })
}

fn or_unknown(cause: &str) -> &str {
    if cause.is_empty() {
        "not tried yet"
    } else {
        cause
    }
}
