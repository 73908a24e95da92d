//! A list store that fails when told to. Every method is forwarded by hand: nothing may bypass the strings.

use super::control::Control;
use async_trait::async_trait;
use guestbook::chat::{GuestId, Timestamp};
use guestbook::error::{Error, Result};
use guestbook::storage::list_cache::{Append, Applied, Head, ListCache, LiveList, NewLife};
use guestbook::storage::{Promise, Stats, Storage};
use std::sync::Arc;
use uuid::Uuid;

/// The wrapper.
#[derive(Debug)]
pub(crate) struct FaultyLists {
    pub(crate) inner: Arc<dyn ListCache>,
    pub(crate) control: Arc<Control>,
}

#[async_trait]
impl Storage for FaultyLists {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn location(&self) -> String {
        self.inner.location()
    }
    async fn health(&self) -> Result<()> {
        self.control.pass("health", self.inner.health()).await
    }
    fn fatal(&self) -> Option<Error> {
        self.control.fatal().or_else(|| self.inner.fatal())
    }
    async fn durability(&self) -> Result<Promise> {
        self.inner.durability().await
    }
    async fn stats(&self) -> Result<Stats> {
        self.control.pass("stats", self.inner.stats()).await
    }
    async fn flush(&self) -> Result<()> {
        self.control.pass("flush", self.inner.flush()).await
    }
    async fn close(&self) -> Result<()> {
        self.control.pass("close", self.inner.close()).await
    }
}

#[async_trait]
impl ListCache for FaultyLists {
    async fn incarnation(&self) -> Result<Uuid> {
        self.control
            .pass("incarnation", self.inner.incarnation())
            .await
    }
    async fn heads(&self, guests: Vec<GuestId>) -> Result<Vec<Option<Head>>> {
        self.control.pass("heads", self.inner.heads(guests)).await
    }
    async fn apply(&self, appends: Arc<Vec<Append>>) -> Result<Vec<Applied>> {
        self.control.pass("apply", self.inner.apply(appends)).await
    }
    async fn replace(&self, list: Append) -> Result<()> {
        self.control.pass("replace", self.inner.replace(list)).await
    }
    async fn retime(&self, lists: Vec<NewLife>) -> Result<()> {
        self.control.pass("retime", self.inner.retime(lists)).await
    }
    async fn range(&self, guest: &GuestId, now: Timestamp) -> Result<Option<LiveList>> {
        self.control
            .pass("range", self.inner.range(guest, now))
            .await
    }
    async fn remove(&self, guests: Vec<GuestId>) -> Result<()> {
        self.control.pass("remove", self.inner.remove(guests)).await
    }
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize> {
        self.control
            .pass("sweep", self.inner.sweep(now, limit))
            .await
    }
    async fn guests(&self, after: Option<&GuestId>, limit: usize) -> Result<Vec<GuestId>> {
        self.control
            .pass("guests", self.inner.guests(after, limit))
            .await
    }
}
