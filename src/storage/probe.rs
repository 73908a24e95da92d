//! Caches the outcome of a write probe: only a write shows that a store is writable, and repeated health checks must not
//! become a load.

use guestbook_core::error::Result;
use std::time::{Duration, Instant};

/// How long a success is cached.
const GOOD: Duration = Duration::from_secs(1);
/// How long a failure is cached; shorter, because someone waits for the repair.
const BAD: Duration = Duration::from_millis(250);

/// The outcome of the last probe.
#[derive(Debug, Default)]
pub struct LastProbe(Option<(Instant, Result<()>)>);

impl LastProbe {
    /// The outcome of the last probe, if it is recent.
    pub fn last(&self) -> Option<Result<()>> {
        let (at, outcome) = self.0.as_ref()?;
        let long = if outcome.is_ok() { GOOD } else { BAD };
        (at.elapsed() < long).then(|| outcome.clone())
    }

    /// Caches the outcome of a probe.
    pub fn note(&mut self, outcome: Result<()>) -> Result<()> {
        self.0 = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guestbook_core::error::{Error, ErrorKind};

    #[test]
    fn an_outcome_is_good_for_a_moment_and_a_failure_for_a_shorter_one() {
        let mut probe = LastProbe::default();
        assert!(probe.last().is_none());
        assert!(probe.note(Ok(())).is_ok());
        assert!(matches!(probe.last(), Some(Ok(()))));
        let refused = Error::new(ErrorKind::Unavailable, "test", "health", "read-only");
        assert!(probe.note(Err(refused)).is_err());
        assert!(matches!(probe.last(), Some(Err(_))));
        if let Some((at, _)) = &mut probe.0 {
            *at -= BAD;
        }
        assert!(probe.last().is_none());
    }
}
