//! A store that fails when told to: nothing of it may bypass the strings.

use super::control::Control;
use guestbook::core::error::{Error, Result};
use guestbook::core::{GuestId, Timestamp};
use guestbook::storage::list_cache::{
    Append, Applied, Head, ListCache, ListPage, ListRange, NewLife,
};
use guestbook::storage::{DurabilityReport, Stats, Storage, gated};
use std::sync::Arc;
use uuid::Uuid;

/// The wrapper of a store, or of a part of one.
#[derive(Debug)]
pub struct Faulty<T: ?Sized> {
    pub(super) inner: Arc<T>,
    control: Arc<Control>,
}

impl<T: ?Sized> Faulty<T> {
    pub fn new(inner: &Arc<T>, control: &Arc<Control>) -> Arc<Self> {
        let (inner, control) = (Arc::clone(inner), Arc::clone(control));
        Arc::new(Self { inner, control })
    }

    pub async fn pass<R>(
        &self,
        method: &'static str,
        effect: impl Future<Output = Result<R>>,
    ) -> Result<R> {
        self.control.pass(method, effect).await
    }
}

gated! {
    impl<T: Storage + ?Sized> Storage for Faulty<T> => pass {
        fn name(&self) -> &'static str;
        fn location(&self) -> String;
        async fn health(&self) -> Result<()>;
        async fn stats(&self) -> Result<Stats>;
        async fn flush(&self) -> Result<()>;
        async fn close(&self) -> Result<()>;
        with
        fn fatal(&self) -> Option<Error> {
            self.control.fatal().or_else(|| self.inner.fatal())
        }
        async fn durability(&self) -> Result<DurabilityReport> {
            self.inner.durability().await
        }
    }
}

gated! {
    impl ListCache for Faulty<dyn ListCache> => pass {
        async fn incarnation(&self) -> Result<Uuid>;
        async fn heads(&self, guests: Vec<GuestId>) -> Result<Vec<Option<Head>>>;
        async fn apply(&self, appends: Arc<Vec<Append>>) -> Result<Vec<Applied>>;
        async fn replace(&self, list: Append) -> Result<()>;
        async fn retime(&self, lists: Vec<NewLife>) -> Result<()>;
        async fn range(&self, guest: &GuestId, range: ListRange, now: Timestamp) -> Result<Option<ListPage>>;
        async fn remove(&self, guests: Vec<GuestId>) -> Result<()>;
        async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize>;
        async fn guests(&self, after: Option<&GuestId>, limit: usize) -> Result<Vec<GuestId>>;
    }
}
