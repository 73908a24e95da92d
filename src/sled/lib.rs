//! The expiring lists in [sled](https://docs.rs/sled), the embedded store: no service to run, and fast.
//!
//! sled 0.34 needs care, by measurement: its `flush` does not wait for the disk (ours does), it may panic or refuse to open after
//! a power cut (then the store is set aside and replaced), and it keeps failing after one full disk (then it is reopened). None
//! of this can lose a message: lists are rebuilt from the tables.
//!
//! | module | content |
//! |---|---|
//! | `lists` | the operations on the open store |
//! | `changes` | the writes of an operation, in an order that keeps lists intact |
//! | `records`, `keys` | the bytes of values and keys |
//! | `open`, `guard` | opening, and staying open |
//! | `aside` | stores that are set aside |
//! | `fault` | failures and their recovery |

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

mod aside;
mod changes;
#[cfg(test)]
mod crash_tests;
mod fault;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod keys;
mod lists;
#[cfg(test)]
mod model;
mod open;
mod records;
#[cfg(test)]
mod testing;

use async_trait::async_trait;
use fault::{NAME, SledFault, SledResult};
use guard::SupervisedStore;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{GuestId, Timestamp};
use guestbook_storage::list_cache::{Append, Applied, Head, ListPage, ListRange, NewLife};
use guestbook_storage::private::{files_below, tighten};
use guestbook_storage::worker::{Poison, Worker};
use guestbook_storage::{Durability, DurabilityReport, ListCache, Stats, Storage};
use lists::SledStore;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

/// Capacity of the queue in calls; further callers wait.
const QUEUE: usize = 256;

/// The lists in a directory of their own. One thread owns the store; calls are queued to it.
#[derive(Debug)]
pub struct SledLists {
    path: PathBuf,
    set_aside: Option<PathBuf>,
    worker: Worker<SupervisedStore>,
    closed: AtomicBool,
}

impl SledLists {
    /// Opens or creates the store in the directory `path`. Blocks while it reads.
    ///
    /// A damaged store is moved to `<path>.bad-<UTC time>` and an empty one begun.
    ///
    /// # Errors
    /// `Unavailable` if the store is open elsewhere, may not be read and written, or `path` is a file. A full disk is no error:
    /// opening is retried until there is space.
    pub fn open(path: &Path) -> Result<Self> {
        Self::start(path, guarded(path)?)
    }

    /// As [`open`](Self::open), for tables of this epoch, which know this incarnation of the list store or none. A store with lists of
    /// other tables that is unknown to these is moved to `<path>.unknown-<UTC time>` and kept for an hour.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_of(path: &Path, epoch: Uuid, known: Option<Uuid>) -> Result<Self> {
        let (mut store, set_aside) = guarded(path)?;
        let is_unknown = store.run("open", |lists| {
            Ok(known != Some(lists.incarnation()) && lists.are_of_others(epoch)?)
        });
        if !is_unknown.unwrap_or(false) {
            return Self::start(path, (store, set_aside));
        }
        drop(store); // waits until it can be moved
        aside::set_unknown_aside(path)?;
        Self::start(path, guarded(path)?)
    }

    fn start(
        path: &Path,
        (guarded, set_aside): (SupervisedStore, Option<PathBuf>),
    ) -> Result<Self> {
        tighten(files_below(path));
        aside::keep_private(path);
        Ok(Self {
            path: path.to_owned(),
            set_aside,
            worker: Worker::spawn(NAME, "lists", QUEUE, Poison::default(), vec![guarded])?,
            closed: AtomicBool::new(false),
        })
    }

    /// The new path of the damaged store that [`open`](Self::open) found, if any.
    pub fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }

    async fn call<R: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut SledStore) -> SledResult<R> + Send + 'static,
    ) -> Result<R> {
        let job = move |guarded: &mut SupervisedStore| guarded.run(operation, work);
        self.worker.call(operation, job).await
    }
}

/// The store, and the new path of a damaged one found in its place.
fn guarded(path: &Path) -> Result<(SupervisedStore, Option<PathBuf>)> {
    match open::open(path) {
        Ok(opened) => Ok((
            SupervisedStore::new(path.to_owned(), opened.lists),
            opened.set_aside,
        )),
        // As when the disk becomes full later: messages are saved, and the lists follow when there is space again.
        Err(open::OpenFailure { cause, .. }) if cause.kind() == ErrorKind::Full => {
            tracing::error!(%cause, "the list store cannot be opened yet; messages are saved and their lists follow later");
            Ok((SupervisedStore::closed(path.to_owned(), cause), None))
        }
        Err(open::OpenFailure { cause, .. }) => Err(cause),
    }
}

#[async_trait]
impl Storage for SledLists {
    fn name(&self) -> &'static str {
        NAME
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    async fn health(&self) -> Result<()> {
        self.call("health", |lists| lists.check()).await
    }

    /// Losing lists loses no message, so no failure of the store is fatal. If the owning thread ends, that is a defect of ours,
    /// which only a restart repairs.
    fn fatal(&self) -> Option<Error> {
        self.worker.fatal()
    }

    /// The caller decides when to flush; the service does it several times a second.
    async fn durability(&self) -> Result<DurabilityReport> {
        Ok(DurabilityReport::new(
            Durability::Normal,
            "fsync after the answer",
        ))
    }

    async fn stats(&self) -> Result<Stats> {
        self.call("stats", |lists| lists.stats()).await
    }

    /// The wait for the disk is not on the store's thread: appends go on meanwhile.
    async fn flush(&self) -> Result<()> {
        let Some(flush) = self.call("flush", SledStore::begin_flush).await? else {
            return Ok(());
        };
        let waiting = tokio::task::spawn_blocking(move || flush.sync().map(|()| flush)).await;
        let ended = |cause| {
            Err(SledFault::Io(
                "the wait for the disk ended",
                io::Error::other(cause),
            ))
        };
        let synced = waiting.unwrap_or_else(ended);
        self.call("flush", move |lists| lists.end_flush(&synced?))
            .await
    }

    async fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let flushed = match self.flush().await {
            // It may have failed for writes before an earlier failure, which concern no caller any more.
            Err(_) => self.flush().await,
            done => done,
        };
        self.worker.close().await;
        flushed
    }
}

#[async_trait]
impl ListCache for SledLists {
    async fn incarnation(&self) -> Result<Uuid> {
        self.call("incarnation", |lists| Ok(lists.incarnation()))
            .await
    }

    async fn heads(&self, guests: Vec<GuestId>) -> Result<Vec<Option<Head>>> {
        self.call("heads", move |lists| lists.heads(&guests)).await
    }

    async fn apply(&self, appends: Arc<Vec<Append>>) -> Result<Vec<Applied>> {
        self.call("apply", move |lists| lists.apply(&appends)).await
    }

    async fn replace(&self, list: Append) -> Result<()> {
        self.call("replace", move |lists| lists.replace(&list))
            .await
    }

    async fn retime(&self, new: Vec<NewLife>) -> Result<()> {
        self.call("retime", move |lists| lists.retime(&new)).await
    }

    async fn range(
        &self,
        guest: &GuestId,
        range: ListRange,
        now: Timestamp,
    ) -> Result<Option<ListPage>> {
        let guest = guest.clone();
        self.call("range", move |lists| lists.range(&guest, range, now))
            .await
    }

    async fn remove(&self, guests: Vec<GuestId>) -> Result<()> {
        self.call("remove", move |lists| lists.remove(&guests))
            .await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize> {
        let path = self.path.clone();
        let sweep = move |lists: &mut SledStore| {
            aside::remove_unknown(&path);
            lists.sweep(now, limit)
        };
        self.call("sweep", sweep).await
    }

    async fn guests(&self, after: Option<&GuestId>, limit: usize) -> Result<Vec<GuestId>> {
        let after = after.cloned();
        self.call("guests", move |lists| lists.guests(after.as_ref(), limit))
            .await
    }
}
