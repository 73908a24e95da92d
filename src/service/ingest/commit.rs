//! An operation becomes a transaction.

use super::super::Service;
use super::Erasure;
use super::operation::{ChatRequest, PendingBatch, Waiters};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{GuestId, OwnerId, rounded_ms};
use guestbook_storage::database::{Batch, Embedding, Erased, Group, Migrated, Outcome};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most list marks that ride along with one batch: beyond, they would make the batch's own messages wait.
const MARKS_PER_BATCH: usize = 512;

pub(super) type Outcomes = Vec<std::result::Result<Outcome, Error>>;

/// A batch in the tables, with one outcome per group, and who waits for them.
pub(super) struct Stored {
    pub(super) batch: Arc<Batch>,
    pub(super) outcomes: Outcomes,
    pub(super) waiters: Waiters,
}

/// Commits a batch. A fault of one message fails no other.
pub(super) async fn store(service: &Service, pending: PendingBatch) -> Stored {
    let at = service.now();
    let batch = Arc::new(Batch {
        at,
        groups: pending.groups,
        synced_ranges: service.0.lists.take_durable(MARKS_PER_BATCH),
        deltas: service.0.metrics.take_due(),
    });
    let began = Instant::now();
    let outcomes = match service.stores().chats.record(Arc::clone(&batch)).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(cause) => rescue(service, &batch, cause).await,
    };
    log_batch(&batch, &outcomes, began.elapsed());
    let mut entries = batch.groups.iter().flat_map(|group| &group.0);
    if entries.any(|entry| matches!(entry.embedding, Embedding::Pending)) {
        service.0.pending_vectors.notify_one();
    }
    Stored {
        batch,
        outcomes,
        waiters: pending.waiters,
    }
}

pub(super) async fn erase(service: &Service, request: &ChatRequest<Erasure>) -> Result<Erased> {
    let chats = &service.stores().chats;
    match request.reply.is_closed() {
        true => Err(given_up("erase")),
        false => chats.erase(&request.guest, service.now()).await,
    }
}

pub(super) async fn migrate(
    service: &Service,
    request: &ChatRequest<Migrated>,
    user: &OwnerId,
) -> Result<Migrated> {
    let (chats, guest) = (&service.stores().chats, &request.guest);
    let migrated = match request.reply.is_closed() {
        true => Err(given_up("migrate")),
        false => chats.migrate(guest, user, service.now()).await,
    };
    if let Err(cause) = &migrated {
        note_failed_migration(service, guest, user, cause).await;
    }
    migrated
}

/// Nobody waits any more. Whoever asked may have repeated it on another node and gone on speaking there: done now, it would
/// take messages along that were answered as saved since.
fn given_up(operation: &'static str) -> Error {
    let context = "it waited too long and was given up";
    Error::new(ErrorKind::Busy, "service", operation, context)
}

/// A try that failed leaves its row in `cache_migrations` too, also when the client has gone away.
async fn note_failed_migration(service: &Service, guest: &GuestId, user: &OwnerId, cause: &Error) {
    let (chats, reason) = (&service.stores().chats, cause.to_string());
    if let Err(second) = chats
        .migration_failed(guest, user, service.now(), &reason)
        .await
    {
        tracing::error!(step = "migrate", %guest, cause = %second, "the failed migration could not be noted");
    }
}

/// Nothing of the batch is stored. Where the fault lies in a message, finds it, so that its neighbours do not suffer.
async fn rescue(service: &Service, batch: &Arc<Batch>, cause: Error) -> Outcomes {
    service.note_fatal();
    service
        .0
        .lists
        .put_back_durable(batch.synced_ranges.clone());
    service.0.metrics.put_back(batch.deltas.clone());
    if cause.kind() == ErrorKind::Full {
        return without_room(service, batch, &cause).await;
    }
    if !is_of_one_message(&cause) || batch.groups.len() == 1 {
        // The response may have been lost and not the commit: then the session lists lack these messages.
        service.0.lists.wake();
        tracing::error!(step = "record", messages = batch.groups.len(), %cause, "a batch was not stored");
        return batch.groups.iter().map(|_| Err(cause.clone())).collect();
    }
    tracing::warn!(%cause, groups = batch.groups.len(), "a batch was refused; looking for the message at fault");
    let mut outcomes = Vec::with_capacity(batch.groups.len());
    let mut waiting = vec![batch.groups.clone()];
    while let Some(mut groups) = waiting.pop() {
        match record_part(service, batch, groups.clone()).await {
            Ok(stored) => outcomes.extend(stored.into_iter().map(Ok)),
            Err(cause) if groups.len() == 1 || !is_of_one_message(&cause) => {
                service.0.lists.wake(); // as above
                tracing::error!(step = "record", messages = groups.len(), %cause, "a message was not stored");
                outcomes.extend(groups.iter().map(|_| Err(cause.clone())));
            }
            Err(_) => {
                let second = groups.split_off(groups.len() / 2);
                waiting.extend([second, groups]); // the first half is taken first, so the order is kept
            }
        }
    }
    outcomes
}

/// There is no room for anything new. Messages that are stored already are answered all the same, which takes no room: each
/// group that may be a repetition is asked about by itself. Whoever repeats a message only wants to know.
async fn without_room(service: &Service, batch: &Batch, cause: &Error) -> Outcomes {
    tracing::error!(step = "record", messages = batch.groups.len(), %cause, "there is no room for a batch");
    service.0.lists.wake(); // as in `rescue`
    let mut outcomes = Vec::with_capacity(batch.groups.len());
    for group in &batch.groups {
        let may_repeat = group
            .0
            .iter()
            .all(|entry| entry.message.client_id.is_some());
        let outcome = match may_repeat {
            true => record_part(service, batch, vec![group.clone()]).await,
            false => Err(cause.clone()),
        };
        outcomes.extend(match outcome {
            Ok(outcome) => outcome.into_iter().map(Ok).collect(),
            Err(cause) => vec![Err(cause)],
        });
    }
    outcomes
}

/// Whether a failure may lie in one message, or in the rows of one guest, and so need not fail the others.
fn is_of_one_message(cause: &Error) -> bool {
    matches!(
        cause.kind(),
        ErrorKind::Invalid | ErrorKind::Internal | ErrorKind::Inconsistent
    )
}

async fn record_part(service: &Service, batch: &Batch, groups: Vec<Group>) -> Result<Vec<Outcome>> {
    let part = Batch {
        at: batch.at,
        groups,
        ..Batch::default()
    };
    service.stores().chats.record(Arc::new(part)).await
}

/// One `info` event per batch with a count per step, and at `debug` a line per message and step.
fn log_batch(batch: &Batch, outcomes: &Outcomes, took: Duration) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let mut counts: HashMap<&'static str, u64> = HashMap::new();
    let mut count = |what| *counts.entry(what).or_default() += 1;
    for (group, outcome) in batch.groups.iter().zip(outcomes) {
        let Ok(Outcome::Stored(recorded)) = outcome else {
            count("refused");
            continue;
        };
        for (entry, recorded) in group.0.iter().zip(recorded) {
            if recorded.replayed.is_some() {
                count("replayed");
                continue;
            }
            count("messages");
            count(entry.embedding.state().as_str());
            if recorded.sequence == 0 {
                count("conversations");
            }
            log_message(entry.message.guest.as_str(), entry, recorded);
        }
    }
    let of = |what: &str| counts.get(what).copied().unwrap_or(0);
    tracing::info!(
        messages = of("messages"),
        conversations_created = of("conversations"),
        embeddings = of("stored"),
        embeddings_pending = of("pending"),
        embeddings_failed = of("failed"),
        mappings = of("messages"),
        usage = of("messages"),
        replayed = of("replayed"),
        refused = of("refused"),
        took_ms = rounded_ms(took),
        "batch committed"
    );
}

fn log_message(
    guest: &str,
    entry: &guestbook_storage::database::Entry,
    recorded: &guestbook_storage::database::Recorded,
) {
    if let Embedding::Failed(cause) = &entry.embedding {
        tracing::error!(step = "embedding", guest, message = %recorded.id, cause, "[Embeddings] ✗ Embedding failed");
    }
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    use guestbook_core::RowState::Created;
    let (id, sequence) = (recorded.id, recorded.sequence);
    match recorded.conversation_row {
        Created => {
            tracing::debug!(guest, conversation = %recorded.conversation, "[Conversation] ✓ Created new conversation")
        }
        _ => {
            tracing::debug!(guest, conversation = %recorded.conversation, "[Conversation] ✓ Updated conversation")
        }
    }
    tracing::debug!(guest, message = %id, sequence, "[Message] ✓ Message stored");
    if matches!(entry.embedding, Embedding::Vector(_)) {
        tracing::debug!(guest, message = %id, "[Embeddings] ✓ Embedding stored");
    }
    match recorded.usage_row {
        Created => tracing::debug!(guest, "[UsageMetrics] ✓ Created new usage metrics record"),
        _ => tracing::debug!(guest, "[UsageMetrics] ✓ Updated usage metrics record"),
    }
    tracing::debug!(guest, message = %id, "[CacheMapping] ✓ Created cache_content_mapping entry");
    tracing::debug!(guest, message = %id, "[CacheMetrics] ✓ Updated cache metrics");
}
