//! What every rig here needs: dice, figures, and the process under test.

use crate::client::Client;
use crate::process::Running;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

/// Numbers that a seed decides.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Those of `GUESTBOOK_TEST_SEED`, or new ones, whose seed is printed.
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("GUESTBOOK_TEST_SEED");
        let given = given.ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("GUESTBOOK_TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides.max(1)
    }

    /// Puts items in any order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.roll(end as u64 + 1);
            items.swap(end, usize::try_from(other).unwrap());
        }
    }
}

/// The rounds of the form that is run.
pub(crate) fn rounds(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

pub(crate) fn is_long() -> bool {
    std::env::var_os("GUESTBOOK_TEST_LONG").is_some()
}

/// Finds what a rig needs, or says why it is skipped; where rigs are required that is a failure.
pub(crate) fn needed(what: &str, package: &str, found: Option<PathBuf>) -> Option<PathBuf> {
    if found.is_none() {
        let reason = format!("{what} is not installed: apt-get install {package}");
        assert!(
            std::env::var_os("GUESTBOOK_REQUIRE_RIGS").is_none(),
            "{reason}"
        );
        println!("SKIP: {reason}");
    }
    found
}

/// Until a node says that both of its stores are well; how long that took.
pub(crate) async fn until_ready(client: &Client) -> Duration {
    let since = Instant::now();
    while client.get("/readyz").await.status != 200 {
        assert!(since.elapsed() < DEADLINE, "never ready");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    since.elapsed()
}

/// Until a node finds everything right, which only looks; how long that took.
pub(crate) async fn until_verified(client: &Client) -> Duration {
    let since = Instant::now();
    loop {
        let report = client.verify(None).await;
        if report["ok"] == true {
            return since.elapsed();
        }
        assert!(since.elapsed() < DEADLINE, "never right: {report:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Stops a node as a service manager does; what it logged.
pub(crate) fn stopped(node: Running) -> String {
    node.signal("TERM");
    let (status, log) = tokio::task::block_in_place(|| node.ended());
    assert_eq!(status.code(), Some(0), "{log}");
    log
}

/// Ends a node as a power cut does, but for the disk; what it logged.
pub(crate) fn killed(node: Running) -> String {
    node.signal("KILL");
    let (status, log) = tokio::task::block_in_place(|| node.ended());
    assert_eq!(status.code(), None, "{log}");
    log
}

/// The value below which this many percent of the others are.
pub(crate) fn percentile(values: &[Duration], percent: usize) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or_default()
}
