//! Message embeddings: inline if the model takes microseconds, else in the background with retries.

use super::Service;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{MessageId, NewMessage, Vector, rounded_ms};
use guestbook_embed::{EmbedError, Embedder};
use guestbook_storage::database::{Embedding, Unembedded, VectorOutcome, VectorUpdate};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Texts per embedding request.
const PAGE: usize = 64;
/// Consecutive single-text requests that fail before the server is considered unavailable.
const UNREACHABLE: u32 = 3;
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long to wait after the database failed.
const DATABASE_WAIT: Duration = Duration::from_secs(1);

/// The vector of a new message, if the model may run on the request path.
pub(super) fn at_once(embedder: &dyn Embedder, message: &NewMessage) -> Embedding {
    let Some(inline) = embedder.inline() else {
        return Embedding::Pending;
    };
    match inline.embed_now(message.content.as_str()) {
        Ok(Some(vector)) => Embedding::Vector(vector),
        Ok(None) => Embedding::Nothing,
        Err(cause) => Embedding::Failed(cause.to_string()),
    }
}

/// Embeds pending messages with a background model until the service stops.
pub(super) async fn background_loop(service: Service) {
    let embedder = service.0.parts.embedder.clone();
    let Some(embedder) = embedder.filter(|embedder| embedder.inline().is_none()) else {
        return service.stopped().await;
    };
    let mut patience = RetryBackoff::default();
    loop {
        let rest = match round(&service, embedder.as_ref(), &mut patience).await {
            Ok(rest) => rest,
            Err(cause) => {
                service.note_fatal();
                tracing::error!(step = "embedding", %cause, "pending embeddings cannot be read or stored, retrying");
                Some(DATABASE_WAIT)
            }
        };
        // A new message wakes the loop, so the idle timeout is arbitrary.
        let rest = rest.unwrap_or(Duration::from_secs(3600));
        tokio::select! {
            () = service.0.pending_vectors.notified() => {}
            () = tokio::time::sleep(rest) => {}
            () = service.stopped() => return,
        }
    }
}

/// The earliest next attempt for each message that failed.
type RetryBackoff = HashMap<MessageId, Instant>;

/// One pass over all pending messages that are due; returns the time until the next one is.
async fn round(
    service: &Service,
    embedder: &dyn Embedder,
    patience: &mut RetryBackoff,
) -> Result<Option<Duration>> {
    let mut after = None;
    while service.embedder_problem().is_none() {
        let page = service
            .stores()
            .vectors
            .vectors_pending(after, PAGE)
            .await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let now = Instant::now();
        let is_due = |one: &Unembedded| patience.get(&one.id).is_none_or(|due| *due <= now);
        let due: Vec<_> = page.into_iter().filter(is_due).collect();
        if !due.is_empty() {
            tokio::select! {
                stored = ask_and_store(service, embedder, due, patience) => stored?,
                () = service.stopped() => return Ok(None),
            };
        }
    }
    let soonest = patience.values().min().copied();
    Ok(soonest.map(|due| due.saturating_duration_since(Instant::now())))
}

async fn ask_and_store(
    service: &Service,
    embedder: &dyn Embedder,
    due: Vec<Unembedded>,
    patience: &mut RetryBackoff,
) -> Result<()> {
    let settings = service.settings();
    let is_last = |one: &Unembedded| one.attempts + 1 >= settings.embed_attempts;
    let results = ask(embedder, &due, is_last).await;
    let updates = due.iter().zip(results).map(|(one, result)| {
        let attempts = one.attempts + 1;
        patience.remove(&one.id);
        let outcome = match result {
            Ok(Some(vector)) => VectorOutcome::Vector(vector),
            Ok(None) => VectorOutcome::Nothing,
            Err(EmbedError::Transient { cause, retry_after }) if attempts < settings.embed_attempts => {
                let doubled = settings.embed_backoff.saturating_mul(1 << attempts.saturating_sub(1).min(16));
                let wait = retry_after.unwrap_or(doubled.min(LONGEST_WAIT));
                patience.insert(one.id, Instant::now() + wait);
                tracing::warn!(step = "embedding", message = %one.id, attempts, retry_in_ms = rounded_ms(wait), cause, "embedding failed, retrying");
                VectorOutcome::Retry(cause)
            }
            Err(failure) => {
                let cause = failure.to_string();
                tracing::error!(step = "embedding", message = %one.id, attempts, cause, "[Embeddings] ✗ Embedding failed");
                VectorOutcome::Failed(cause)
            }
        };
        VectorUpdate {
            id: one.id,
            attempts,
            outcome,
        }
    });
    let updates: Vec<_> = updates.collect();
    let stored = updates
        .iter()
        .filter(|update| matches!(update.outcome, VectorOutcome::Vector(_)))
        .count();
    service.store_vectors(embedder, updates).await?;
    if stored > 0 {
        tracing::info!(embeddings = stored, "[Embeddings] ✓ Embeddings stored");
    }
    Ok(())
}

/// Embeds all texts in one request. If the request is refused as a whole, one text may be the cause, so each text is retried
/// alone and its neighbours do not fail with it. Some servers answer 500 to a text they cannot process, so each text is also
/// retried alone before a transient failure uses up its last attempt.
async fn ask(
    embedder: &dyn Embedder,
    due: &[Unembedded],
    is_last: impl Fn(&Unembedded) -> bool,
) -> Vec<std::result::Result<Option<Vector>, EmbedError>> {
    let texts: Vec<_> = due.iter().map(|one| one.content.as_str()).collect();
    let mut results = embedder.embed(&texts).await;
    if texts.len() > 1 {
        let mut unreachable = 0;
        for ((one, text), result) in due.iter().zip(&texts).zip(&mut results) {
            let again = match result {
                Ok(_) => false,
                Err(EmbedError::Permanent { .. }) => true,
                Err(EmbedError::Transient { .. }) => is_last(one) && unreachable < UNREACHABLE,
            };
            if again && let Some(alone) = embedder.embed(&[text]).await.pop() {
                unreachable = match &alone {
                    Err(cause) if cause.is_transient() => unreachable + 1,
                    _ => 0,
                };
                *result = alone;
            }
        }
    }
    results
}

/// Progress of a recomputation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ReembedProgress {
    /// Messages processed.
    pub done: u64,
    /// Of these, messages that got no vector because the model failed.
    pub failed: u64,
    /// Messages to process when it began.
    pub total: u64,
}

impl Service {
    /// Stores the model's vectors and notifies the index.
    async fn store_vectors(
        &self,
        embedder: &dyn Embedder,
        updates: Vec<VectorUpdate>,
    ) -> Result<()> {
        let changed = updates.iter().map(|update| update.id).collect();
        let vectors = &self.stores().vectors;
        vectors
            .vectors_update(embedder.model(), updates, self.now())
            .await?;
        self.0.index.updated(changed);
        Ok(())
    }

    /// Computes every vector that is missing or of another model, page by page; an interrupted run keeps finished pages.
    /// `progress` is called after each page.
    ///
    /// # Errors
    /// `Invalid` without an embedder; those of the database; `Unavailable` if the model cannot be reached.
    pub async fn reembed(
        &self,
        mut progress: impl FnMut(ReembedProgress),
    ) -> Result<ReembedProgress> {
        let embedder = self.0.parts.embedder.clone().ok_or_else(|| {
            let context = "the embedder is `none`; choose one with --embedder";
            Error::new(ErrorKind::Invalid, "service", "reembed", context)
        })?;
        if let Some(problem) = self.embedder_problem() {
            return Err(problem);
        }
        let vectors = &self.stores().vectors;
        let mut state = ReembedProgress {
            total: vectors.vectors_missing_count(embedder.model()).await?,
            ..ReembedProgress::default()
        };
        let mut after = None;
        loop {
            progress(state);
            let page = vectors
                .vectors_missing(embedder.model(), after, PAGE)
                .await?;
            let Some(last) = page.last() else {
                return Ok(state);
            };
            after = Some(last.id);
            let results = ask(embedder.as_ref(), &page, |_| false).await;
            let mut unreachable = None;
            let mut updates = Vec::with_capacity(page.len());
            for (one, result) in page.iter().zip(results) {
                let outcome = match result {
                    Ok(Some(vector)) => VectorOutcome::Vector(vector),
                    Ok(None) => VectorOutcome::Nothing,
                    Err(EmbedError::Transient { cause, .. }) => {
                        unreachable = Some(cause);
                        continue;
                    }
                    Err(EmbedError::Permanent { cause }) => {
                        state.failed += 1;
                        tracing::error!(step = "embedding", message = %one.id, cause, "[Embeddings] ✗ Embedding failed");
                        VectorOutcome::Failed(cause)
                    }
                };
                updates.push(VectorUpdate {
                    id: one.id,
                    attempts: one.attempts + 1,
                    outcome,
                });
            }
            state.done += updates.len() as u64;
            self.store_vectors(embedder.as_ref(), updates).await?;
            if let Some(cause) = unreachable {
                let context = format!(
                    "the model cannot be reached ({cause}); run it again to go on from here"
                );
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "service",
                    "reembed",
                    context,
                ));
            }
        }
    }
}
