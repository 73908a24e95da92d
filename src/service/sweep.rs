//! Removing what has expired: lists past their TTL, conversations past the retention.
//!
//! What has expired is hidden by every read already; removing it has time. So a clock that jumps ahead is not believed at
//! once: should it be set right again, nothing is gone that had not expired.

use super::Service;
use guestbook_core::error::Result;
use guestbook_core::{Timestamp, rounded_ms};
use std::time::{Duration, Instant};

/// Removed per transaction, so that a sweep never holds up the write path for long.
const SWEEP_PAGE: usize = 500;
/// How far a clock may run ahead of the time that has really passed before the sweep doubts it. Clocks are slewed by less.
const LEAP: Duration = Duration::from_secs(60);
/// How long a clock that has leapt is doubted: whoever set it wrong has noticed by then.
const DOUBT: Duration = Duration::from_secs(3600);

pub(super) async fn sweep_loop(service: Service) {
    let mut clock = ClockGuard::new(service.now(), Instant::now());
    while service.pause(service.settings().sweep_interval).await {
        let now = clock.see(service.now(), Instant::now());
        if let Err(cause) = service.sweep_at(now).await {
            service.note_fatal();
            tracing::error!(step = "sweep", %cause, "expired data could not be removed; it stays unreadable and is tried again");
        }
    }
}

impl Service {
    /// Removes everything that has expired by now.
    ///
    /// # Errors
    /// The first failure of a store; what is left is removed by the next sweep.
    pub async fn sweep(&self) -> Result<()> {
        self.sweep_at(self.now()).await
    }

    async fn sweep_at(&self, now: Timestamp) -> Result<()> {
        let swept = self.remove_expired(now).await;
        // Also after a failure, and when nothing had expired: an outbox entry that nobody was told of, such as the list of a chat that
        // its guest's next message has ended, is paid now at the latest.
        self.0.lists.wake();
        swept
    }

    async fn remove_expired(&self, now: Timestamp) -> Result<()> {
        let (database, lists) = (self.stores(), &self.0.parts.lists);
        let mut conversations = 0;
        loop {
            let erased = database.chats.expire(now, SWEEP_PAGE).await?;
            self.0.index.removed(erased.messages);
            conversations += erased.conversations;
            if erased.conversations == 0 {
                break; // a database may take fewer at a time than it was asked for
            }
        }
        if conversations > 0 {
            tracing::info!(
                conversations,
                "conversations past the retention were removed"
            );
        }
        let mut expired = 0;
        loop {
            let found = database.outbox.lapse(now, SWEEP_PAGE).await?;
            expired += found;
            if found < SWEEP_PAGE {
                break;
            }
        }
        while lists.sweep(now, SWEEP_PAGE).await? == SWEEP_PAGE {}
        self.remove_answers(now).await?;
        if expired > 0 {
            tracing::info!(lists = expired, "expired session lists were removed");
        }
        Ok(())
    }
}

impl Service {
    async fn remove_answers(&self, now: Timestamp) -> Result<()> {
        let (prompts, mut removed) = (&self.stores().prompts, 0);
        loop {
            let found = prompts.prompts_expire(now, SWEEP_PAGE).await?;
            removed += found;
            if found < SWEEP_PAGE {
                break;
            }
        }
        if removed > 0 {
            tracing::info!(
                answers = removed,
                "expired entries of the prompt cache were removed"
            );
        }
        self.evict_answers().await
    }
}

/// The present as far as the sweep believes it: the clock, unless it has just leapt ahead of the time that has passed.
#[derive(Debug)]
struct ClockGuard {
    /// A moment that was believed, and when that was.
    shown: Timestamp,
    at: Instant,
    suspect_since: Option<Instant>,
}

impl ClockGuard {
    fn new(shown: Timestamp, at: Instant) -> Self {
        Self {
            shown,
            at,
            suspect_since: None,
        }
    }

    /// The moment to believe when the clock shows `shown` at `at`.
    fn see(&mut self, shown: Timestamp, at: Instant) -> Timestamp {
        let expected = self.shown.plus(at.duration_since(self.at));
        let ahead = expected.until(shown);
        if ahead > LEAP {
            let since = *self.suspect_since.get_or_insert_with(|| {
                tracing::warn!(
                    ahead_ms = rounded_ms(ahead),
                    "clock jump detected; for an hour nothing is removed that expired by the jump"
                );
                at
            });
            if at.duration_since(since) < DOUBT {
                return expected;
            }
        } else if self.suspect_since.is_some() {
            tracing::info!("the clock is right again");
        }
        *self = Self::new(shown, at);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_766_318_400;

    /// What is believed when the clock shows these seconds after noon, each with the seconds that have passed.
    fn believed(sights: &[(i64, u64)]) -> Vec<i64> {
        let (noon, began) = (
            |seconds| Timestamp::from_ms((NOON + seconds) * 1000),
            Instant::now(),
        );
        let mut clock = ClockGuard::new(noon(0), began);
        let see = |&(shown, passed): &(i64, u64)| {
            let at = began + Duration::from_secs(passed);
            clock.see(noon(shown), at).ms() / 1000 - NOON
        };
        sights.iter().map(see).collect()
    }

    #[test]
    fn a_clock_that_goes_on_or_back_is_believed() {
        assert_eq!(
            believed(&[(30, 30), (90, 60), (-3_600, 90)]),
            [30, 90, -3_600]
        );
    }

    #[test]
    fn a_leap_ahead_is_believed_after_an_hour_and_not_when_it_is_taken_back() {
        let day = 86_400;
        assert_eq!(
            believed(&[(day, 30), (day + 30, 60), (90, 90)]),
            [30, 60, 90]
        );
        assert_eq!(believed(&[(day, 30), (day + 3_599, 3_629)]), [30, 3_629]);
        assert_eq!(
            believed(&[(day, 30), (day + 3_600, 3_630), (day + 3_630, 3_660)]),
            [30, day + 3_600, day + 3_630]
        );
    }
}
