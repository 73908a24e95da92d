//! Writes cache entries and counters in groups, in at most one transaction at a time, so that a message waits for at most
//! one of them.

use super::super::Service;
use super::PAGE;
use super::lookups::GATHER;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_storage::database::NewCacheEntry;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Entries that may wait to be written; more are refused.
const QUEUE: usize = 1024;
/// Entries written together at most, and their bytes.
const AT_ONCE: usize = 64;
const BYTES_AT_ONCE: u64 = 1 << 20;
/// Bytes written between two checks of the cache size, as a fraction of that size.
const SLACK: u64 = 16;

/// A queued entry, and its reply channel.
#[derive(Debug)]
pub(crate) struct PendingPut {
    entry: NewCacheEntry,
    reply: oneshot::Sender<Result<()>>,
}

/// The queue of entries to write.
#[derive(Debug)]
pub(crate) struct PutQueue(mpsc::Sender<PendingPut>);

impl PutQueue {
    pub(crate) fn new() -> (Self, mpsc::Receiver<PendingPut>) {
        let (sender, waiting) = mpsc::channel(QUEUE);
        (Self(sender), waiting)
    }

    /// Queues an entry and waits until it is written.
    pub(super) async fn pass(&self, entry: NewCacheEntry) -> Result<()> {
        let (reply, written) = oneshot::channel();
        let refused = |kind, context| Error::new(kind, "service", "keep", context);
        let sent = self.0.try_send(PendingPut { entry, reply });
        sent.map_err(|cause| match cause {
            mpsc::error::TrySendError::Full(_) => refused(
                ErrorKind::Busy,
                "too many prompt cache entries wait to be written",
            ),
            mpsc::error::TrySendError::Closed(_) => {
                refused(ErrorKind::Unavailable, "the service stops")
            }
        })?;
        let ended = || refused(ErrorKind::Unavailable, "the service stops");
        written.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// Writes queued entries, and the lookup counters once a second, until the service stops.
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
            written += service.write_entries(together).await;
        }
        let most = service.settings().prompt_bytes;
        if written > most / SLACK {
            written = 0;
            if let Err(cause) = service.evict_entries().await {
                tracing::warn!(step = "prompt", %cause, "prompt cache eviction failed; the next sweep retries it");
            }
        }
        let long = if is_stopping { Duration::ZERO } else { GATHER };
        service.write_lookups(long).await;
    }
}

/// Splits queued entries into groups to be written together.
fn parts(waiting: Vec<PendingPut>) -> Vec<Vec<PendingPut>> {
    let mut parts: Vec<Vec<PendingPut>> = Vec::new();
    let mut bytes = 0;
    for one in waiting {
        bytes += one.entry.bytes();
        match parts.last_mut() {
            Some(part) if bytes <= BYTES_AT_ONCE => part.push(one),
            _ => {
                bytes = one.entry.bytes();
                parts.push(vec![one]);
            }
        }
    }
    parts
}

impl Service {
    /// Writes entries and replies; returns the bytes written.
    async fn write_entries(&self, waiting: Vec<PendingPut>) -> u64 {
        let (entries, replies): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .map(|one| (one.entry, one.reply))
            .unzip();
        let bytes = entries.iter().map(NewCacheEntry::bytes).sum();
        let put = self.stores().prompts.prompts_put(entries, self.now()).await;
        if put.is_err() {
            self.note_fatal();
        }
        for reply in replies {
            let _ = reply.send(put.clone()); // a client that went away changes nothing
        }
        if put.is_ok() { bytes } else { 0 }
    }

    /// Writes the counters gathered for `long`.
    async fn write_lookups(&self, long: Duration) {
        for deltas in self.0.lookups.take(long) {
            let counted = self
                .stores()
                .prompts
                .lookup_totals(deltas.clone(), self.now());
            if let Err(cause) = counted.await {
                self.note_fatal();
                tracing::warn!(step = "prompt", %cause, "failed to write lookup counters, retrying");
                self.0.lookups.put_back(deltas);
            }
        }
    }

    /// Evicts the least recently used entries beyond the size of the cache.
    pub(crate) async fn evict_entries(&self) -> Result<()> {
        let (prompts, most) = (&self.stores().prompts, self.settings().prompt_bytes);
        while prompts.prompts_evict(most, PAGE).await? == PAGE {}
        Ok(())
    }
}
