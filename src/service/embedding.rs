//! Message embeddings: inline if the model takes microseconds, else in the background with retries.

use super::Service;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{MessageId, NewMessage, Vector, rounded_ms};
use guestbook_embed::{EmbedError, Embedder};
use guestbook_storage::database::{Embedding, Unembedded, VectorOutcome, VectorUpdate};
use std::collections::HashMap;
use std::future::pending;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

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
    let mut backoff = RetryBackoff::default();
    loop {
        let due = match round(&service, embedder.as_ref(), &mut backoff).await {
            Ok(()) => backoff.next_due(),
            Err(cause) => {
                service.note_fatal();
                tracing::error!(step = "embedding", %cause, "pending embeddings cannot be read or stored, retrying");
                Some(Instant::now() + DATABASE_WAIT)
            }
        };
        let woken = async {
            service.pending_vectors_or(due).await;
            backoff.queue_is_due().await;
        };
        tokio::select! {
            () = woken => {}
            () = service.stopped() => return,
        }
    }
}

/// What is not to be asked for yet.
#[derive(Debug, Default)]
struct RetryBackoff {
    /// The earliest next attempt for each message that failed alone.
    messages: HashMap<MessageId, Instant>,
    /// Rounds in sequence in which a whole page failed: the model is down, and the queue waits as a whole. However many are
    /// pending, one page asks whether it is back.
    failures: u32,
    /// Before this nothing is asked for.
    queue: Option<Instant>,
}

impl RetryBackoff {
    fn is_due(&self, one: &Unembedded, now: Instant) -> bool {
        self.messages.get(&one.id).is_none_or(|due| *due <= now)
    }

    /// When the next attempt is due, if one is to be made.
    fn next_due(&self) -> Option<Instant> {
        self.queue.or_else(|| self.messages.values().min().copied())
    }

    async fn queue_is_due(&self) {
        if let Some(due) = self.queue {
            sleep_until(due).await;
        }
    }

    /// The model did not answer for a whole page.
    fn hold(&mut self, wait: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.queue = Some(Instant::now() + wait);
    }

    fn go_on(&mut self) {
        (self.failures, self.queue) = (0, None);
    }
}

/// The wait after this many failures; up to a quarter longer, so that nodes that failed together do not come together.
fn doubled(first: Duration, failures: u32) -> Duration {
    let wait = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let quarters = f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    wait.min(LONGEST_WAIT).mul_f64(1.0 + quarters / 4.0)
}

/// One pass over all pending messages that are due, unless the model turns out to be down.
async fn round(
    service: &Service,
    embedder: &dyn Embedder,
    backoff: &mut RetryBackoff,
) -> Result<()> {
    let mut after = None;
    backoff.queue = None;
    while service.embedder_problem().is_none() && backoff.queue.is_none() {
        let page = service
            .stores()
            .vectors
            .vectors_pending(after, PAGE)
            .await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let now = Instant::now();
        let due = page.into_iter().filter(|one| backoff.is_due(one, now));
        let due: Vec<_> = due.collect();
        if !due.is_empty() {
            tokio::select! {
                stored = ask_and_store(service, embedder, due, backoff) => stored?,
                () = service.stopped() => return Ok(()),
            };
        }
    }
    Ok(())
}

async fn ask_and_store(
    service: &Service,
    embedder: &dyn Embedder,
    due: Vec<Unembedded>,
    backoff: &mut RetryBackoff,
) -> Result<()> {
    let settings = service.settings();
    let is_last = |one: &Unembedded| one.attempts + 1 >= settings.embed_attempts;
    let results = ask(embedder, &due, is_last).await;
    let is_down = results.iter().all(is_transient);
    match is_down {
        true => {
            let asked_for = results.iter().filter_map(retry_after).max();
            let wait = doubled(settings.embed_backoff, backoff.failures + 1);
            backoff.hold(asked_for.unwrap_or(wait));
            tracing::warn!(
                step = "embedding",
                failures = backoff.failures,
                retry_in_ms = rounded_ms(asked_for.unwrap_or(wait)),
                "the embedding model is down; all pending messages wait for it"
            );
        }
        false => backoff.go_on(),
    }
    let updates = due.iter().zip(results).map(|(one, result)| {
        let attempts = one.attempts + 1;
        backoff.messages.remove(&one.id);
        let outcome = match result {
            Ok(Some(vector)) => VectorOutcome::Vector(vector),
            Ok(None) => VectorOutcome::Nothing,
            Err(EmbedError::Transient { cause, retry_after }) if attempts < settings.embed_attempts => {
                if !is_down {
                    let wait = retry_after.unwrap_or_else(|| doubled(settings.embed_backoff, attempts));
                    backoff.messages.insert(one.id, Instant::now() + wait);
                    tracing::warn!(step = "embedding", message = %one.id, attempts, retry_in_ms = rounded_ms(wait), cause, "embedding failed, retrying");
                }
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

fn is_transient(result: &EmbedResult) -> bool {
    result.as_ref().is_err_and(EmbedError::is_transient)
}

fn retry_after(result: &EmbedResult) -> Option<Duration> {
    match result {
        Err(EmbedError::Transient { retry_after, .. }) => *retry_after,
        _ => None,
    }
}

type EmbedResult = std::result::Result<Option<Vector>, EmbedError>;

/// Embeds all texts in one request. If the request is refused as a whole, one text may be the cause, so each text is retried
/// alone and its neighbours do not fail with it. Some servers answer 500 to a text they cannot process, so each text is also
/// retried alone before a transient failure uses up its last attempt.
async fn ask(
    embedder: &dyn Embedder,
    due: &[Unembedded],
    is_last: impl Fn(&Unembedded) -> bool,
) -> Vec<EmbedResult> {
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
    /// Waits for a new message, or until `due`.
    async fn pending_vectors_or(&self, due: Option<Instant>) {
        let retry = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.0.pending_vectors.notified() => {}
            () = retry => {}
        }
    }

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
