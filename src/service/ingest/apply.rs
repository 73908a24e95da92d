//! Applies a committed batch to the session lists and sends the replies.

use super::super::Service;
use super::commit::Stored;
use super::operation::Waiter;
use super::{Erasure, GroupOutcome, SavedMessage};
use guestbook_core::error::{Error, Result};
use guestbook_core::{ConversationId, GuestId, ListState, MessageId, Receipt};
use guestbook_failpoint as failpoint;
use guestbook_storage::database::{Entry, Erased, Migrated, Outcome, Recorded, SyncedRange};
use guestbook_storage::list_cache::{Append, Applied, Head, Item, ListRange, Origin};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The reply channels of a batch and their outcomes.
pub(super) struct Replies(Vec<(oneshot::Sender<Vec<GroupOutcome>>, Vec<GroupOutcome>)>);

impl Replies {
    /// A client that disconnected changes nothing.
    pub(super) fn send(self) {
        for (reply, outcomes) in self.0 {
            let _ = reply.send(outcomes);
        }
    }
}

/// Appends a batch to the lists.
pub(super) async fn store(service: &Service, stored: Stored) -> Replies {
    failpoint::reach("list.before");
    let pending = append(service, &stored).await;
    failpoint::reach("list.after");
    let listed = listed_again(service, &stored).await;
    service.0.index.stored(stored.batch.at, recorded(&stored));
    replies(stored, &pending, &listed)
}

/// Removes the list of a guest whose chat is erased.
pub(super) async fn erase(
    service: &Service,
    guest: GuestId,
    committed: Result<Erased>,
) -> Result<Erasure> {
    let erased = committed.map_err(|cause| failed(service, "erase", &guest, cause))?;
    service.0.index.removed(erased.messages);
    let list_removed = service.remove_list(guest).await;
    Ok(Erasure {
        erased,
        list_removed,
    })
}

/// Removes the list of a guest whose chat was migrated to a user.
pub(super) async fn migrate(
    service: &Service,
    guest: GuestId,
    committed: Result<Migrated>,
) -> Result<Migrated> {
    let migrated = committed.map_err(|cause| failed(service, "migrate", &guest, cause))?;
    service.remove_list(guest).await;
    Ok(migrated)
}

fn failed(service: &Service, step: &'static str, guest: &GuestId, cause: Error) -> Error {
    service.note_fatal();
    service.0.lists.wake(); // the reply may have been lost and not the commit: then a list must be removed
    tracing::error!(step, %guest, %cause, "the transaction failed");
    cause
}

/// Appends a batch to the lists; returns the conversations whose list lacks their messages.
async fn append(service: &Service, stored: &Stored) -> HashSet<ConversationId> {
    let (appends, synced_ranges) = appends(service, stored);
    if appends.is_empty() {
        return HashSet::new();
    }
    let conversations = || synced_ranges.iter().map(|range| range.conversation);
    if service.0.lists.is_suspended() {
        return conversations().collect();
    }
    let appends = Arc::new(appends);
    let applying = service.0.parts.lists.apply(Arc::clone(&appends));
    let applied = match tokio::time::timeout(service.settings().list_budget, applying).await {
        Ok(Ok(applied)) => applied,
        Ok(Err(cause)) => {
            service.0.lists.suspend(&format!("{cause}"));
            return conversations().collect();
        }
        Err(_) => {
            service.0.lists.suspend("it did not answer in time");
            return conversations().collect();
        }
    };
    let mut pending = HashSet::new();
    for ((range, applied), append) in synced_ranges.into_iter().zip(applied).zip(appends.iter()) {
        match applied {
            Applied::AlreadyThere if has_items(service, append).await != Some(true) => {
                tracing::warn!(step = "list", guest = %append.guest, "the list seems to differ from the tables; reconciling it");
                pending.insert(range.conversation);
                service.0.lists.mark_suspect(append.guest.clone());
            }
            Applied::Stored | Applied::AlreadyThere => {
                tracing::debug!(guest = %append.guest, items = append.items.len(), "[List] ✓ Appended to the list");
                service.0.lists.note_applied(range);
            }
            Applied::Gap => {
                tracing::debug!(guest = %append.guest, "[List] the list lacks earlier messages; rebuilding it");
                pending.insert(range.conversation);
            }
        }
    }
    if !pending.is_empty() {
        tracing::warn!(
            step = "list",
            lists = pending.len(),
            "lists lack earlier messages; rebuilding them"
        );
        service.0.lists.wake();
    }
    pending
}

/// Whether a list that claims to have the new messages has exactly these; `None` if that cannot be determined. After an older
/// copy of the tables was restored, the list may be of another history.
async fn has_items(service: &Service, append: &Append) -> Option<bool> {
    let range = ListRange {
        from: append.first,
        limit: append.items.len(),
        bytes: usize::MAX, // no more than the batch has, which is in memory
    };
    let (guest, now) = (&append.guest, service.now());
    let asking = service.0.parts.lists.range(guest, range, now);
    let asked = tokio::time::timeout(service.settings().list_budget, asking).await;
    let page = asked.ok()?.ok()??;
    Some(page.first == append.first && page.items == append.items)
}

/// Replayed messages that are in their list but not marked as synced yet: the first receipt said so, and a repeated one must
/// not say less.
async fn listed_again(service: &Service, stored: &Stored) -> HashSet<MessageId> {
    let unsure = |recorded: &Recorded| recorded.replayed == Some(ListState::Pending);
    let unsure: Vec<_> = recorded(stored)
        .filter(|(_, recorded)| unsure(recorded))
        .collect();
    if unsure.is_empty() || service.0.lists.is_suspended() {
        return HashSet::new();
    }
    let guests = unsure
        .iter()
        .map(|(entry, _)| entry.message.guest.clone())
        .collect();
    let asking = service.0.parts.lists.heads(guests);
    let Ok(Ok(heads)) = tokio::time::timeout(service.settings().list_budget, asking).await else {
        return HashSet::new();
    };
    let has = |head: &Head, recorded: &Recorded| {
        head.origin == service.origin(recorded.conversation)
            && (head.from..head.next).contains(&recorded.sequence)
    };
    let found = unsure
        .iter()
        .zip(heads)
        .filter(|((_, recorded), head)| head.as_ref().is_some_and(|head| has(head, recorded)));
    let listed: HashSet<_> = found.map(|((_, recorded), _)| recorded.id).collect();
    if listed.len() < unsure.len() {
        service.0.lists.wake(); // their first reply may have been lost, and with it the wake-up for the list
    }
    listed
}

/// One append per conversation, with the mark to write once it is durable. Replayed messages need no append.
fn appends(service: &Service, stored: &Stored) -> (Vec<Append>, Vec<SyncedRange>) {
    let epoch = service.stores().outbox.epoch();
    let mut places: HashMap<ConversationId, usize> = HashMap::new();
    let (mut appends, mut synced_ranges): (Vec<Append>, Vec<SyncedRange>) =
        (Vec::new(), Vec::new());
    for (entry, recorded) in recorded(stored) {
        let Some(window) = recorded.window else {
            continue;
        };
        let place = *places.entry(recorded.conversation).or_insert_with(|| {
            appends.push(Append {
                guest: entry.message.guest.clone(),
                origin: Origin {
                    epoch,
                    conversation: recorded.conversation,
                },
                from: window.from,
                first: recorded.sequence,
                items: Vec::new(),
                expires_at: window.expires_at,
                at: stored.batch.at,
            });
            synced_ranges.push(SyncedRange {
                conversation: recorded.conversation,
                next: recorded.sequence,
                messages: Vec::new(),
            });
            appends.len() - 1
        });
        appends[place].items.push(Item {
            role: entry.message.role,
            content: entry.message.content.clone(),
            timestamp: entry.message.sent_at,
        });
        synced_ranges[place].next = recorded.sequence + 1;
        synced_ranges[place].messages.push(recorded.id);
    }
    (appends, synced_ranges)
}

fn recorded(stored: &Stored) -> impl Iterator<Item = (&Entry, &Recorded)> {
    let groups = stored.batch.groups.iter().zip(&stored.outcomes);
    groups.flat_map(|(group, outcome)| {
        let recorded = match outcome {
            Ok(Outcome::Stored(recorded)) => recorded.as_slice(),
            _ => &[],
        };
        group.0.iter().zip(recorded)
    })
}

fn replies(
    stored: Stored,
    pending: &HashSet<ConversationId>,
    listed: &HashSet<MessageId>,
) -> Replies {
    let mut outcomes = stored.outcomes.into_iter();
    let to_outcome = |outcome| match outcome {
        Ok(Outcome::Stored(recorded)) => {
            let saved = recorded.into_iter().map(|one| saved(one, pending, listed));
            GroupOutcome::Saved(saved.collect())
        }
        Ok(Outcome::Conflict { index, id }) => GroupOutcome::Conflict { index, id },
        Err(cause) => GroupOutcome::Failed(cause),
    };
    let reply = |waiter: Waiter| {
        let outcomes = outcomes.by_ref().take(waiter.groups);
        (waiter.reply, outcomes.map(to_outcome).collect())
    };
    Replies(stored.waiters.into_iter().map(reply).collect())
}

fn saved(
    mut recorded: Recorded,
    pending: &HashSet<ConversationId>,
    listed: &HashSet<MessageId>,
) -> SavedMessage {
    if recorded.replayed.is_some() && listed.contains(&recorded.id) {
        recorded.replayed = Some(ListState::Stored);
    }
    let list = match pending.contains(&recorded.conversation) {
        true => ListState::Pending,
        false => ListState::Stored,
    };
    let receipt = Receipt {
        list: recorded.replayed.unwrap_or(list),
        conversation: recorded.conversation_row,
        embedding: recorded.embedding,
        usage: recorded.usage_row,
    };
    SavedMessage { recorded, receipt }
}
