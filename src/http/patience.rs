//! The deadline of a batch's parts.
//!
//! A batch goes on while any part of it is queued or completed within the time limit of a request: the larger it is and the slower
//! the disk, the longer. Once nothing progresses, or shutdown begins, no further part is begun, and queued parts are taken back. So
//! each line has a true result, which is sent before the connections are closed.

use super::deadline::Deadline;
use super::{App, Problem};
use guestbook_core::NewMessage;
use guestbook_service::PendingGroups;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The deadline of one batch.
pub(super) struct Patience<'a> {
    app: &'a App,
    /// Renewed when a part of the batch is queued or completed.
    deadline: Deadline,
}

/// Why the wait ended.
enum Ended {
    Answered,
    Late,
    Stopping,
}

impl<'a> Patience<'a> {
    pub(super) fn new(app: &'a App, deadline: Deadline) -> Self {
        Self { app, deadline }
    }

    /// The refusal of further parts, if no more are begun.
    pub(super) fn refusal(&self) -> Option<Problem> {
        if self.app.service.draining_since().is_some() {
            return Some(Problem::stopping());
        }
        (Instant::now() >= self.deadline.at()).then(Problem::not_begun)
    }

    /// Queues groups, unless shutdown begins before the queue has room.
    pub(super) async fn queue(
        &mut self,
        groups: Vec<Vec<NewMessage>>,
    ) -> Result<PendingGroups, Problem> {
        let service = &self.app.service;
        let waiting = tokio::select! {
            biased;
            () = service.draining() => return Err(Problem::stopping()),
            queued = service.enqueue(groups) => queued?,
        };
        self.deadline.renew();
        Ok(waiting)
    }

    /// Waits for all queued parts, in order, until the deadline. No part is left in the queue then.
    pub(super) async fn wait_for(&mut self, parts: &mut [&mut PendingGroups]) {
        let mut ended = Ended::Answered;
        for part in parts.iter_mut() {
            ended = self.wait(part).await;
            if !matches!(ended, Ended::Answered) {
                break;
            }
            self.deadline.renew();
        }
        for part in parts.iter_mut() {
            part.take_back();
        }
        // Begun parts complete soon on a healthy database; after so long without progress it is not healthy.
        if let (Ended::Stopping, Some(last)) = (ended, self.of_drain(3, 4)) {
            for part in parts {
                let _ = timeout_at(last, part.wait()).await; // then the outcomes known so far are sent
            }
        }
    }

    async fn wait(&self, part: &mut PendingGroups) -> Ended {
        let stop = async {
            self.app.service.draining().await;
            if let Some(last) = self.of_drain(1, 2) {
                sleep_until(last).await;
            }
        };
        tokio::select! {
            biased;
            () = part.wait() => Ended::Answered,
            () = stop => Ended::Stopping,
            () = sleep_until(self.deadline.at()) => Ended::Late,
        }
    }

    /// When `part`/`of` of the drain time has passed; the rest is for sending the responses.
    fn of_drain(&self, part: u32, of: u32) -> Option<Instant> {
        let since = self.app.service.draining_since()?;
        Some(since + self.app.settings.drain_timeout / of * part)
    }
}
