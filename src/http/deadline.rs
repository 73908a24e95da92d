//! Request deadlines: one per request, set when it begins, for all its work.

use super::{App, Problem};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use guestbook_core::error::Result as StoreResult;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The deadline of a request. For a request with a body it starts when the body has arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    span: Duration,
    at: Instant,
}

impl Deadline {
    /// A deadline this long from now.
    pub(super) fn after(span: Duration) -> Self {
        let at = Instant::now() + span;
        Self { span, at }
    }

    /// Restarts it: a part of a batch was queued or stored.
    pub(super) fn renew(&mut self) {
        *self = Self::after(self.span);
    }

    pub(super) fn at(self) -> Instant {
        self.at
    }

    /// The result of `work`; `None` once the deadline has passed.
    pub(super) async fn bound<R>(self, work: impl Future<Output = R>) -> Option<R> {
        timeout_at(self.at, work).await.ok()
    }

    /// A read of the service, bounded by the deadline.
    pub(super) async fn read<R>(
        self,
        asking: impl Future<Output = StoreResult<R>>,
    ) -> Result<R, Problem> {
        match self.bound(asking).await {
            Some(result) => Ok(result?),
            None => Err(Problem::unanswered()),
        }
    }
}

impl FromRequestParts<App> for Deadline {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self::after(app.settings.request_timeout))
    }
}
