//! What a process takes: memory, threads, files.

use std::fs;
use std::time::Duration;

/// A process of ours, seen from outside.
#[derive(Clone, Copy, Debug)]
pub struct Taken(pub u32);

impl Taken {
    /// Bytes in memory now.
    pub fn resident(self) -> u64 {
        self.status("VmRSS:") << 10
    }

    /// Bytes in memory at most, since the last [`Self::forget_peak`].
    pub fn peak(self) -> u64 {
        self.status("VmHWM:") << 10
    }

    /// Begins to look for a new peak.
    pub fn forget_peak(self) {
        fs::write(format!("/proc/{}/clear_refs", self.0), "5").unwrap();
    }

    pub fn threads(self) -> u64 {
        self.status("Threads:")
    }

    /// Open files and connections.
    pub fn files(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0))
            .unwrap()
            .count()
    }

    /// The same once what was closed is given back.
    pub async fn files_at_rest(self) -> usize {
        let (mut files, mut same) = (self.files(), 0);
        while same < 10 {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let now = self.files();
            same = if now == files { same + 1 } else { 0 };
            files = now;
        }
        files
    }

    fn status(self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap()
    }
}

/// Bytes as people read them.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
