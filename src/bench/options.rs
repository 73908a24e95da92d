//! What is to be measured, as it was asked for.

use clap::ValueEnum;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What to measure, and how. The flags of `guestbook bench` say what each means.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the flags have these names
pub struct BenchOptions {
    pub pairs: Vec<String>,
    pub messages: usize,
    pub max_duration: Duration,
    pub connections: Vec<usize>,
    pub mix: ReadWriteMix,
    pub seed: u64,
    pub target: BenchTarget,
    pub load_percent: u8,
    pub repeat: usize,
    pub ignore_durability: bool,
    pub overwrite_cache: bool,
    pub out: Option<PathBuf>,
    pub compare: Option<PathBuf>,
}

/// Which way the bench takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum BenchTarget {
    /// Over HTTP to a server in a process of its own.
    Http,
    /// Straight at the stores, in this process.
    Storage,
}

/// Writes to reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReadWriteMix {
    /// Parts that are writes.
    pub writes: u32,
    /// Parts that are reads.
    pub reads: u32,
}

impl FromStr for ReadWriteMix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':');
        let parsed = parts.and_then(|(writes, reads)| {
            Some(Self {
                writes: writes.parse().ok()?,
                reads: reads.parse().ok()?,
            })
        });
        match parsed {
            Some(mix) if (1..=1_000_000).contains(&mix.writes) && mix.reads <= 1_000_000 => Ok(mix),
            _ => Err("write it like 80:20, writes to reads, with at least one write".into()),
        }
    }
}
