//! On what it was measured: a figure without its machine says nothing.

use serde::{Deserialize, Serialize};
use std::fs;

/// The machine, as far as it tells.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Machine {
    pub(super) processors: usize,
    pub(super) model: String,
    pub(super) memory_mib: u64,
    pub(super) kernel: String,
}

impl Machine {
    pub(super) fn here() -> Self {
        let value = |file: &str, key: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
            let found = pairs.find(|(name, _)| name.trim() == key);
            found.map(|(_, value)| value.trim().to_owned())
        };
        let memory = value("/proc/meminfo", "MemTotal").and_then(|text| {
            let kib: u64 = text.split(' ').next()?.parse().ok()?;
            Some(kib >> 10)
        });
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            model: value("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            memory_mib: memory.unwrap_or_default(),
            kernel: format!("{} {}", std::env::consts::OS, kernel.trim()),
        }
    }
}
