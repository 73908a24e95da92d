//! Writing answers and counts: many together, and never more than one transaction at a time, so that a message waits for at
//! most one of them.

use super::super::Service;
use super::PAGE;
use super::lookups::GATHER;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_storage::database::NewCacheEntry;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Answers that may wait to be written; more are refused, and lost by nobody.
const QUEUE: usize = 1024;
/// Answers written together at most, and their bytes.
const AT_ONCE: usize = 64;
const BYTES_AT_ONCE: u64 = 1 << 20;
/// What may be written beyond the size of the cache before it is looked at again, as a part of that size.
const SLACK: u64 = 16;

/// An answer that waits, and who waits for it.
#[derive(Debug)]
pub(crate) struct PendingPut {
    answer: NewCacheEntry,
    reply: oneshot::Sender<Result<()>>,
}

/// Where answers wait to be written.
#[derive(Debug)]
pub(crate) struct PutQueue(mpsc::Sender<PendingPut>);

impl PutQueue {
    pub(crate) fn new() -> (Self, mpsc::Receiver<PendingPut>) {
        let (sender, waiting) = mpsc::channel(QUEUE);
        (Self(sender), waiting)
    }

    /// Waits until the answer is written.
    pub(super) async fn pass(&self, answer: NewCacheEntry) -> Result<()> {
        let (reply, written) = oneshot::channel();
        let refused = |kind, context| Error::new(kind, "service", "keep", context);
        let sent = self.0.try_send(PendingPut { answer, reply });
        sent.map_err(|cause| match cause {
            mpsc::error::TrySendError::Full(_) => {
                refused(ErrorKind::Busy, "too many answers wait to be kept")
            }
            mpsc::error::TrySendError::Closed(_) => {
                refused(ErrorKind::Unavailable, "the service stops")
            }
        })?;
        let ended = || refused(ErrorKind::Unavailable, "the service stops");
        written.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// Writes what waits, and once a second what was looked up, until the service stops.
pub(crate) async fn keep_loop(service: Service, mut waiting: mpsc::Receiver<PendingPut>) {
    let mut written = 0;
    let mut batch = Vec::new();
    let mut is_stopping = false;
    while !is_stopping {
        tokio::select! {
            count = waiting.recv_many(&mut batch, AT_ONCE) => is_stopping = count == 0,
            () = tokio::time::sleep(GATHER) => {}
            () = service.stopped() => {
                waiting.close();
                while waiting.recv_many(&mut batch, AT_ONCE).await > 0 {}
                is_stopping = true;
            }
        }
        for together in parts(std::mem::take(&mut batch)) {
            written += service.write_answers(together).await;
        }
        let most = service.settings().prompt_bytes;
        if written > most / SLACK {
            written = 0;
            if let Err(cause) = service.evict_answers().await {
                tracing::warn!(step = "prompt", %cause, "the prompt cache is larger than it should be; it is looked at again by the next sweep");
            }
        }
        let long = if is_stopping { Duration::ZERO } else { GATHER };
        service.write_lookups(long).await;
    }
}

/// What is written together.
fn parts(waiting: Vec<PendingPut>) -> Vec<Vec<PendingPut>> {
    let mut parts: Vec<Vec<PendingPut>> = Vec::new();
    let mut bytes = 0;
    for one in waiting {
        bytes += one.answer.bytes();
        match parts.last_mut() {
            Some(part) if bytes <= BYTES_AT_ONCE => part.push(one),
            _ => {
                bytes = one.answer.bytes();
                parts.push(vec![one]);
            }
        }
    }
    parts
}

impl Service {
    /// Writes entries and wakes their requests; the bytes that were written.
    async fn write_answers(&self, waiting: Vec<PendingPut>) -> u64 {
        let (answers, replies): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .map(|one| (one.answer, one.reply))
            .unzip();
        let bytes = answers.iter().map(NewCacheEntry::bytes).sum();
        let put = self.stores().prompts.prompts_put(answers, self.now()).await;
        if put.is_err() {
            self.note_fatal();
        }
        for reply in replies {
            let _ = reply.send(put.clone()); // a client that went away changes nothing
        }
        if put.is_ok() { bytes } else { 0 }
    }

    /// Writes what has gathered for `long`.
    async fn write_lookups(&self, long: Duration) {
        for deltas in self.0.lookups.take(long) {
            let counted = self
                .stores()
                .prompts
                .lookup_totals(deltas.clone(), self.now());
            if let Err(cause) = counted.await {
                self.note_fatal();
                tracing::warn!(step = "prompt", %cause, "lookups could not be counted; they are counted later");
                self.0.lookups.put_back(deltas);
            }
        }
    }

    /// Removes the least recently used answers beyond the size of the cache.
    pub(crate) async fn evict_answers(&self) -> Result<()> {
        let (prompts, most) = (&self.stores().prompts, self.settings().prompt_bytes);
        while prompts.prompts_evict(most, PAGE).await? == PAGE {}
        Ok(())
    }
}
