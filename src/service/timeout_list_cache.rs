//! A list cache whose calls time out with an error.
//!
//! The lists are derived, so nothing may wait long for them: a hanging store must block neither requests, nor
//! reconciliation, nor the service's shutdown.

use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{GuestId, Timestamp};
use guestbook_storage::list_cache::{
    Append, Applied, Head, ListCache, ListPage, ListRange, NewLife,
};
use guestbook_storage::{DurabilityReport, Stats, Storage, gated};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A list cache whose every call ends within `limit`.
#[derive(Debug)]
pub(super) struct TimeoutListCache {
    inner: Arc<dyn ListCache>,
    limit: Duration,
}

impl TimeoutListCache {
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

gated! {
    impl Storage for TimeoutListCache => within {
        fn name(&self) -> &'static str;
        fn location(&self) -> String;
        fn fatal(&self) -> Option<Error>;
        async fn health(&self) -> Result<()>;
        async fn durability(&self) -> Result<DurabilityReport>;
        async fn stats(&self) -> Result<Stats>;
        async fn flush(&self) -> Result<()>;
        async fn close(&self) -> Result<()>;
    }
}

gated! {
    impl ListCache for TimeoutListCache => within {
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
