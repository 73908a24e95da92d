//! Removing what has expired: lists past their TTL, conversations past the retention.
//!
//! Every read hides expired data already, so its removal is not urgent. A forward jump of the clock is therefore distrusted
//! for an hour: if the clock is corrected meanwhile, nothing was removed that had not expired.

use super::Service;
use guestbook_core::error::Result;
use guestbook_core::{Timestamp, rounded_ms};
use std::time::{Duration, Instant};

/// Removed per transaction, so that a sweep never holds up the write path for long.
const SWEEP_PAGE: usize = 500;
/// How far the clock may run ahead of the elapsed time before it counts as a jump. Slewing changes it by less.
const MAX_DRIFT: Duration = Duration::from_secs(60);
/// How long a clock that jumped is distrusted: long enough for an operator to notice and correct it.
const DISTRUST: Duration = Duration::from_secs(3600);

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
        // Also after a failure, and when nothing had expired: outbox entries without a wake-up, such as the list of a chat
        // that the guest's next message ended, are drained now at the latest.
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
                break; // a database may remove fewer per call than requested
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
                "expired prompt cache entries were removed"
            );
        }
        self.evict_entries().await
    }
}

/// The time the sweep trusts: the clock, unless it has just jumped ahead of the elapsed time.
#[derive(Debug)]
struct ClockGuard {
    /// The last trusted time, and when it was read.
    trusted: Timestamp,
    at: Instant,
    suspect_since: Option<Instant>,
}

impl ClockGuard {
    fn new(shown: Timestamp, at: Instant) -> Self {
        Self {
            trusted: shown,
            at,
            suspect_since: None,
        }
    }

    /// The time to trust when the clock shows `shown` at `at`.
    fn see(&mut self, shown: Timestamp, at: Instant) -> Timestamp {
        let expected = self.trusted.plus(at.duration_since(self.at));
        let ahead = expected.until(shown);
        if ahead > MAX_DRIFT {
            let since = *self.suspect_since.get_or_insert_with(|| {
                tracing::warn!(ahead_ms = rounded_ms(ahead), "clock jump detected");
                at
            });
            if at.duration_since(since) < DISTRUST {
                return expected;
            }
        } else if self.suspect_since.is_some() {
            tracing::info!("the clock agrees with the elapsed time again");
        }
        *self = Self::new(shown, at);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_766_318_400;

    /// The trusted seconds after noon, for pairs of the clock's seconds after noon and the elapsed seconds.
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
