//! What a process holds: memory, threads, open files.

use guestbook_testkit::process::Running;
use guestbook_testkit::resources::Taken;
use std::time::{Duration, Instant};

/// How long a process may take to give back what it held: tokio keeps idle threads for ten seconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a process holds at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    pub(crate) memory: u64,
    pub(crate) threads: u64,
    pub(crate) files: usize,
}

impl Footprint {
    pub(crate) fn of(node: &Running) -> Self {
        let taken = Taken(node.id());
        Self {
            memory: taken.resident(),
            threads: taken.threads(),
            files: taken.files(),
        }
    }

    /// Whether this is no more than `base`, but for what a process rightly keeps: pages of its allocator, a few idle threads,
    /// and a few connections.
    fn is_back_to(&self, base: &Self) -> bool {
        self.memory <= base.memory + (base.memory / 4).max(32 << 20)
            && self.threads <= base.threads + 4
            && self.files <= base.files + 24
    }

    /// Waits until a process holds no more than before; how long that took, and what it holds.
    pub(crate) async fn until_back(node: &Running, base: &Self) -> (Duration, Self) {
        let since = Instant::now();
        loop {
            let now = Self::of(node);
            if now.is_back_to(base) {
                return (since.elapsed(), now);
            }
            assert!(
                since.elapsed() < DEADLINE,
                "it was {base:?} and is still {now:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl std::fmt::Display for Footprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (memory, threads, files) = (self.memory >> 20, self.threads, self.files);
        write!(f, "{memory} MiB, {threads} threads, {files} files")
    }
}
