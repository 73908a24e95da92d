//! When a request has to be answered: one deadline, made when it begins, for everything that is done for it.

use super::{App, Problem};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use guestbook_core::error::Result as StoreResult;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The deadline of a request. Of one with a body it begins when that has arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    span: Duration,
    at: Instant,
}

impl Deadline {
    /// So long from now.
    pub(super) fn after(span: Duration) -> Self {
        let at = Instant::now() + span;
        Self { span, at }
    }

    /// Begins anew: something of a batch was queued or stored.
    pub(super) fn renew(&mut self) {
        *self = Self::after(self.span);
    }

    pub(super) fn at(self) -> Instant {
        self.at
    }

    /// What comes by then; `None` when it is late.
    pub(super) async fn bound<R>(self, work: impl Future<Output = R>) -> Option<R> {
        timeout_at(self.at, work).await.ok()
    }

    /// What is asked of the service, if it answers by then.
    pub(super) async fn read<R>(
        self,
        asking: impl Future<Output = StoreResult<R>>,
    ) -> Result<R, Problem> {
        match self.bound(asking).await {
            Some(answer) => Ok(answer?),
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
