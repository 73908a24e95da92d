//! What every fault test here needs: figures, and the process under test.

use guestbook_testkit::client::Client;
use guestbook_testkit::oracle::needed;
use guestbook_testkit::process::Running;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

/// A program that a fault test needs, or what to install.
pub(crate) fn program(what: &str, package: &str, found: Option<PathBuf>) -> Option<PathBuf> {
    needed(found.ok_or_else(|| format!("{what} is not installed: apt-get install {package}")))
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
