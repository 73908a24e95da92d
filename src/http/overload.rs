//! One line of the log a second, however many requests are turned away: a server that is overloaded has no time for more.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);

/// Since the last line.
static TURNED_AWAY: Mutex<CountConnections> = Mutex::new(CountConnections {
    requests: 0,
    said: None,
});

struct CountConnections {
    requests: u64,
    said: Option<Instant>,
}

/// Counts a request that is turned away.
pub(super) fn note() {
    let mut count = TURNED_AWAY.lock().unwrap_or_else(PoisonError::into_inner);
    count.requests += 1;
    if count.said.is_some_and(|said| said.elapsed() < INTERVAL) {
        return;
    }
    tracing::warn!(
        requests = count.requests,
        "overloaded: requests were turned away with 503"
    );
    count.requests = 0;
    count.said = Some(Instant::now());
}
