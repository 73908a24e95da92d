//! Commits an operation in one transaction.

use super::super::Service;
use super::Erasure;
use super::operation::{ChatRequest, PendingBatch, Waiters};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{GuestId, OwnerId, rounded_ms};
use guestbook_storage::database::{Batch, Embedding, Erased, Group, Migrated, Outcome};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sync marks per batch at most: more would delay the batch's own messages.
const MARKS_PER_BATCH: usize = 512;

pub(super) type Outcomes = Vec<std::result::Result<Outcome, Error>>;

/// A committed batch, with one outcome per group, and its reply channels.
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
        true => Err(abandoned("erase")),
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
        true => Err(abandoned("migrate")),
        false => chats.migrate(guest, user, service.now()).await,
    };
    if let Err(cause) = &migrated {
        note_failed_migration(service, guest, user, cause).await;
    }
    migrated
}

/// The requester has timed out. It may have retried on another node and stored messages there since: carried out now, the
/// operation would remove messages that were acknowledged after the retry.
fn abandoned(operation: &'static str) -> Error {
    let context = "it waited too long and was abandoned";
    Error::new(ErrorKind::Busy, "service", operation, context)
}

/// Records a failed attempt in `cache_migrations`, also when the client has disconnected.
async fn note_failed_migration(service: &Service, guest: &GuestId, user: &OwnerId, cause: &Error) {
    let (chats, reason) = (&service.stores().chats, cause.to_string());
    if let Err(second) = chats
        .migration_failed(guest, user, service.now(), &reason)
        .await
    {
        tracing::error!(step = "migrate", %guest, cause = %second, "failed to record the failed migration");
    }
}

/// The batch was rolled back. If one message is at fault, bisects the batch to find it, so that its neighbours are stored.
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
        // The reply may have been lost and not the commit: then the lists lack messages nobody appended.
        service.0.lists.wake();
        tracing::error!(step = "record", messages = batch.groups.len(), %cause, "a batch was rolled back");
        return batch.groups.iter().map(|_| Err(cause.clone())).collect();
    }
    tracing::warn!(%cause, groups = batch.groups.len(), "a batch was rejected; bisecting it for the message at fault");
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
                waiting.extend([second, groups]); // a stack: the first half is popped first, which keeps the order
            }
        }
    }
    outcomes
}

/// The disk is full. Replays of stored messages need no space and still succeed: each group that may be a replay is looked up
/// by itself.
async fn without_room(service: &Service, batch: &Batch, cause: &Error) -> Outcomes {
    tracing::error!(step = "record", messages = batch.groups.len(), %cause, "the disk is full: a batch was not stored");
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
