//! A conversation against itself and everything that hangs on it.

use super::check::{Context, Fix, Listed, Tally};
use super::report::{Place, TableReport};
use super::windows::live_window;
use guestbook_core::{ClientId, EmbeddingState, GuestId, Window, chain_link, chain_start};
use guestbook_storage::database::{AuditedMessage, Dossier, Orphan, Repair};
use guestbook_storage::list_cache::Origin;
use std::collections::HashSet;

/// Whether retention has ended this conversation: unreadable already, and on its way out with its list.
pub(super) fn is_retired(dossier: &Dossier, context: &Context) -> bool {
    dossier
        .conversation
        .expires_at
        .is_some_and(|end| end <= context.now)
}

impl Tally {
    /// Counts a dossier if nothing about it is wrong; otherwise leaves the tally as it was.
    pub(super) fn try_dossier(
        &mut self,
        dossier: &Dossier,
        listed: &Listed,
        context: &Context,
    ) -> bool {
        let mut one = Self::default();
        one.dossier(dossier, listed, context);
        let well = one.tables.iter().all(TableReport::is_ok);
        if well {
            self.merge(one);
        }
        well
    }

    /// Counts a dossier, with everything that is wrong about it.
    pub(super) fn dossier(&mut self, dossier: &Dossier, listed: &Listed, context: &Context) {
        if is_retired(dossier, context) {
            return; // unreadable already, and on its way out
        }
        let window = live_window(dossier, context);
        self.hours.extend(
            dossier
                .messages
                .iter()
                .map(|message| message.created_at.hour()),
        );
        self.chain(dossier);
        self.window_row(dossier, window, context);
        self.list(dossier, window, listed, context);
        self.ids(dossier);
        for message in &dossier.messages {
            self.message(dossier, message);
            self.vector(dossier, message, context);
            let has_it = has_message(listed, message);
            self.mapping(dossier, message, window, has_it, context);
        }
    }

    /// Dense sequences, the counters, the hash chain.
    fn chain(&mut self, dossier: &Dossier) {
        let (conversation, messages) = (&dossier.conversation, &dossier.messages);
        self.count(Place::Conversations, 1, 1);
        self.count(
            Place::Messages,
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
                return self.differ(Place::Messages, dossier, None, reason);
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
            self.differ(Place::Conversations, dossier, None, reason.into());
        }
        let tokens = messages.iter().map(|message| message.found_tokens).sum();
        let count = messages.len() as u64;
        if (conversation.message_count, conversation.total_tokens) != (count, tokens) {
            let reason = format!(
                "message_count {} and total_tokens {} should be {count} and {tokens}",
                conversation.message_count, conversation.total_tokens
            );
            self.differ(Place::Conversations, dossier, None, reason);
        }
        // A count of messages of which some are lost is not wrong: it is the trace of them.
        if is_whole && (conversation.message_count, conversation.total_tokens) != (count, tokens) {
            self.fixes.push(Fix::Row(Repair::Counters {
                conversation: conversation.id,
                hash: conversation.hash.clone(),
                message_count: count,
                total_tokens: tokens,
            }));
        }
    }

    /// The row's own idea of its list.
    fn window_row(&mut self, dossier: &Dossier, implied: Option<Window>, context: &Context) {
        let stored = dossier.window.filter(|window| window.is_live(context.now));
        if stored == implied {
            return;
        }
        let reason = "the row's list_from and list_expires_at are not what its messages imply";
        self.differ(Place::Conversations, dossier, None, reason.into());
        self.fixes.push(Fix::Row(Repair::Window {
            conversation: dossier.conversation.id,
            hash: dossier.conversation.hash.clone(),
            window: implied,
        }));
    }

    /// The list against what the rows imply.
    fn list(
        &mut self,
        dossier: &Dossier,
        window: Option<Window>,
        listed: &Listed,
        context: &Context,
    ) {
        let Some(window) = window else { return };
        let should = dossier
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
        self.count(Place::Lists, should.len() as u64, has as u64);
        let reason = match listed {
            Listed::Unreadable(cause) => {
                self.unreadable(cause);
                format!("the list cannot be read: {cause}")
            }
            Listed::List {
                is_ahead: false, ..
            }
            | Listed::None
                if should.is_empty() =>
            {
                return;
            } // all of it is in flight
            Listed::None => "there is no list".into(),
            Listed::List { origin, .. } if *origin != origin_of(dossier, context) => {
                "the list is a view of an earlier chat or of another database".into()
            }
            Listed::List { from, .. } if *from != window.from => {
                format!("the list begins at {from}, and should at {}", window.from)
            }
            Listed::List { is_ahead: true, .. } => {
                "the list has more messages than the chat (was an older database put back?)".into()
            }
            Listed::List { .. } if has == should.len() => return,
            Listed::List { .. } => format!(
                "the list lacks or differs in {} of its messages",
                should.len() - has
            ),
        };
        self.differ(Place::Lists, dossier, None, reason);
        // A list is not rebuilt from words that are not what was stored: it may be the last to have them.
        let is_intact = |message: &AuditedMessage| message.stored_hash == Some(message.found_hash);
        if let Ok(guest) = GuestId::parse_stored(dossier.conversation.owner.as_str())
            && dossier.messages.iter().all(is_intact)
        {
            self.fixes.push(Fix::List(guest));
        }
    }

    /// Each message is shown under an id of its own.
    fn ids(&mut self, dossier: &Dossier) {
        let messages = &dossier.messages;
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
            self.differ(Place::Messages, dossier, Some(message), reason.into());
        }
    }

    fn message(&mut self, dossier: &Dossier, message: &AuditedMessage) {
        if message.role.is_none() {
            self.differ(
                Place::Messages,
                dossier,
                Some(message),
                "its role is no known word".into(),
            );
        }
        if message.stored_hash != Some(message.found_hash) {
            self.differ(
                Place::Messages,
                dossier,
                Some(message),
                "its content is not what message_hash says".into(),
            );
        }
        if message.stored_tokens != message.found_tokens {
            let reason = format!(
                "tokens is {} and should be {}",
                message.stored_tokens, message.found_tokens
            );
            self.differ(Place::Messages, dossier, Some(message), reason);
        }
    }

    /// One vector per message, of the current model and dimension, or a note that there cannot be one.
    fn vector(&mut self, dossier: &Dossier, message: &AuditedMessage, context: &Context) {
        let Some(model) = &context.model else {
            let found = u64::from(message.vector.is_some());
            return self.count(Place::Embeddings, found, found); // without an embedder there is nothing to expect
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
                // Of the right model by name, it would never be computed again: it makes room for one.
                self.fixes.push(Fix::Row(Repair::Orphan(Orphan {
                    table: "cache_embeddings",
                    id: message.id.to_string(),
                    reason: reason.clone(),
                })));
                reason
            }
            (Some(_), _) => return self.count(Place::Embeddings, 1, 1),
            (None, Some((state, cause))) => {
                format!("the vector is {}: {}", state.as_str(), or_unknown(cause))
            }
            (None, None) => "there is no vector; run `guestbook reembed`".into(),
        };
        self.count(Place::Embeddings, 1, 0);
        self.differ(Place::Embeddings, dossier, Some(message), reason);
        self.fixes.push(Fix::Vectors);
    }

    /// One mapping per message, owned by the conversation's owner, synced exactly when the list has the message.
    fn mapping(
        &mut self,
        dossier: &Dossier,
        message: &AuditedMessage,
        window: Option<Window>,
        has_it: bool,
        context: &Context,
    ) {
        let should = window.is_some_and(|window| window.from <= message.sequence) && has_it;
        // Until the sweep has passed, a list that has just expired is still marked.
        let lapsing = window.is_none() && dossier.window.is_some();
        let in_flight = message.created_at >= context.began;
        let owner = &dossier.conversation.owner;
        // What holds once the list is rebuilt, which a repair does before it comes to the mappings.
        let then =
            window.is_some_and(|window| window.from <= message.sequence) && (has_it || !in_flight);
        let fix = || {
            Fix::Row(Repair::Mapping {
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
                    self.fixes.push(fix()); // true now, and not any more once the list is rebuilt
                }
                return self.count(Place::Mappings, 1, 1);
            }
        };
        self.count(Place::Mappings, 1, u64::from(message.mapping.is_some()));
        self.differ(Place::Mappings, dossier, Some(message), reason);
        self.fixes.push(fix());
    }
}

fn origin_of(dossier: &Dossier, context: &Context) -> Origin {
    Origin {
        epoch: context.epoch,
        conversation: dossier.conversation.id,
    }
}

fn has_message(listed: &Listed, message: &AuditedMessage) -> bool {
    let Listed::List { from, items, .. } = listed else {
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
