//! Rate-limited logging of rejected requests: at most one line a second, because an overloaded server has no time for more.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);

/// Requests since the last line.
static REJECTED: Mutex<CountConnections> = Mutex::new(CountConnections {
    requests: 0,
    logged_at: None,
});

struct CountConnections {
    requests: u64,
    logged_at: Option<Instant>,
}

/// Counts a rejected request.
pub(super) fn note() {
    let mut count = REJECTED.lock().unwrap_or_else(PoisonError::into_inner);
    count.requests += 1;
    if count
        .logged_at
        .is_some_and(|logged_at| logged_at.elapsed() < INTERVAL)
    {
        return;
    }
    tracing::warn!(
        requests = count.requests,
        "overloaded: requests were turned away with 503"
    );
    count.requests = 0;
    count.logged_at = Some(Instant::now());
}
