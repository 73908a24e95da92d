//! A list store that always answers: with an error, where the real one takes too long.
//!
//! The lists are derived, so nothing is worth waiting for them: a store that hangs must hold up neither a request, nor the
//! mending, nor the stop of the service.

use crate::chat::{GuestId, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::list_cache::{Append, Applied, Head, ListCache, LiveList, NewLife};
use crate::storage::{Promise, Stats, Storage};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A list store whose every call ends within `limit`.
#[derive(Debug)]
pub(super) struct Bounded {
    inner: Arc<dyn ListCache>,
    limit: Duration,
}

impl Bounded {
    pub(super) fn new(inner: Arc<dyn ListCache>, limit: Duration) -> Self {
        Self { inner, limit }
    }

    async fn within<R>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<R>> + Send,
    ) -> Result<R> {
        let late = |_| {
            let context = format!("it did not answer within {:?}", self.limit);
            Err(Error::new(
                ErrorKind::Unavailable,
                self.inner.name(),
                operation,
                context,
            ))
        };
        tokio::time::timeout(self.limit, call)
            .await
            .unwrap_or_else(late)
    }
}

#[async_trait]
impl Storage for Bounded {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    async fn health(&self) -> Result<()> {
        self.within("health", self.inner.health()).await
    }

    fn fatal(&self) -> Option<Error> {
        self.inner.fatal()
    }

    async fn durability(&self) -> Result<Promise> {
        self.within("durability", self.inner.durability()).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.within("stats", self.inner.stats()).await
    }

    async fn flush(&self) -> Result<()> {
        self.within("flush", self.inner.flush()).await
    }

    async fn close(&self) -> Result<()> {
        self.within("close", self.inner.close()).await
    }
}

#[async_trait]
impl ListCache for Bounded {
    async fn incarnation(&self) -> Result<Uuid> {
        self.within("incarnation", self.inner.incarnation()).await
    }

    async fn heads(&self, guests: Vec<GuestId>) -> Result<Vec<Option<Head>>> {
        self.within("heads", self.inner.heads(guests)).await
    }

    async fn apply(&self, appends: Arc<Vec<Append>>) -> Result<Vec<Applied>> {
        self.within("apply", self.inner.apply(appends)).await
    }

    async fn replace(&self, list: Append) -> Result<()> {
        self.within("replace", self.inner.replace(list)).await
    }

    async fn retime(&self, lists: Vec<NewLife>) -> Result<()> {
        self.within("retime", self.inner.retime(lists)).await
    }

    async fn range(&self, guest: &GuestId, now: Timestamp) -> Result<Option<LiveList>> {
        self.within("range", self.inner.range(guest, now)).await
    }

    async fn remove(&self, guests: Vec<GuestId>) -> Result<()> {
        self.within("remove", self.inner.remove(guests)).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize> {
        self.within("sweep", self.inner.sweep(now, limit)).await
    }

    async fn guests(&self, after: Option<&GuestId>, limit: usize) -> Result<Vec<GuestId>> {
        self.within("guests", self.inner.guests(after, limit)).await
    }
}
