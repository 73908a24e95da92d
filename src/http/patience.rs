//! How long the parts of a batch are waited for.
//!
//! A batch goes on for as long as something of it is queued or answered within the time a request may take: the larger it is and
//! the slower the disk, the longer. Once nothing moves, or the server is about to stop, no more of it is begun, and what is
//! not begun is taken back. So each line has an answer that is true, and is sent before the connections are closed.

use super::deadline::Deadline;
use super::{App, Problem};
use guestbook_core::NewMessage;
use guestbook_service::PendingGroups;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The patience with one batch.
pub(super) struct Patience<'a> {
    app: &'a App,
    /// Renewed when something of the batch is queued or answered.
    deadline: Deadline,
}

/// What ended the waiting.
enum Ended {
    Answered,
    Late,
    Stopping,
}

impl<'a> Patience<'a> {
    pub(super) fn new(app: &'a App, deadline: Deadline) -> Self {
        Self { app, deadline }
    }

    /// Why nothing more of the batch is begun, if so.
    pub(super) fn refusal(&self) -> Option<Problem> {
        if self.app.service.draining_since().is_some() {
            return Some(Problem::stopping());
        }
        (Instant::now() >= self.deadline.at()).then(Problem::not_begun)
    }

    /// Queues groups, unless the server stops before there is room for them.
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

    /// Waits for the answers of everything queued, in order, as long as there is patience. Nothing is left in the queue then.
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
        // What has been begun will be answered, if the database is well; when it has not moved for so long, it is not.
        if let (Ended::Stopping, Some(last)) = (ended, self.of_drain(3, 4)) {
            for part in parts {
                let _ = timeout_at(last, part.wait()).await; // what is known by then is told
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

    /// When such a part of the time is over that the server takes to stop; the rest is for sending the answers.
    fn of_drain(&self, part: u32, of: u32) -> Option<Instant> {
        let since = self.app.service.draining_since()?;
        Some(since + self.app.settings.drain_timeout / of * part)
    }
}
