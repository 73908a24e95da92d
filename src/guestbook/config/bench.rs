//! The flags of `guestbook bench`.

use super::ranges::{CONNECTIONS, MESSAGES, ROUNDS, count, duration};
use clap::Args;
use guestbook_bench::{BenchOptions, BenchTarget, ReadWriteMix};
use std::path::PathBuf;
use std::time::Duration;

/// What to measure, and how.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Pairs of stores, tables+lists: sqlite or postgres or memory, with sled or redis or memory; `memory` alone is both
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "sqlite+sled",
        value_name = "PAIR,…"
    )]
    pub pairs: Vec<String>,
    /// Messages and reads of one run at most
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = count::<usize>(MESSAGES))]
    pub messages: usize,
    /// How long one run may take at most
    #[arg(long, alias = "at-most", default_value = "10s", value_name = "TIME", value_parser = duration)]
    pub max_duration: Duration,
    /// Connections at a time; straight at the stores: messages of a batch
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256", value_name = "N,…", value_parser = count::<usize>(CONNECTIONS))]
    pub connections: Vec<usize>,
    /// Writes to reads
    #[arg(long, default_value = "80:20", value_name = "W:R")]
    pub mix: ReadWriteMix,
    /// The same seed is the same workload
    #[arg(long, default_value_t = 7, value_name = "N")]
    pub seed: u64,
    /// Over HTTP to a server of its own, or straight at the stores in this process
    #[arg(long, alias = "through", default_value = "http", value_name = "TARGET")]
    pub target: BenchTarget,
    /// Percent of the throughput just found that is offered while latency is measured
    #[arg(long, alias = "load", default_value_t = 70, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub load_percent: u8,
    /// How often everything is measured; the median counts, and the spread says what it is worth
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = count::<usize>(ROUNDS))]
    pub repeat: usize,
    /// Compare pairs of different durability in one table
    #[arg(long, alias = "rank-anyway")]
    pub ignore_durability: bool,
    /// Use a Redis that has other keys; lists of guests that the bench does not know may be removed from it
    #[arg(long)]
    pub overwrite_cache: bool,
    /// Folder to write report.json, index.html and the charts' SVG files into
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// An earlier report.json to compare with
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
}

impl From<&BenchArgs> for BenchOptions {
    fn from(args: &BenchArgs) -> Self {
        let args = args.clone();
        Self {
            pairs: args.pairs,
            messages: args.messages,
            max_duration: args.max_duration,
            connections: args.connections,
            mix: args.mix,
            seed: args.seed,
            target: args.target,
            load_percent: args.load_percent,
            repeat: args.repeat,
            ignore_durability: args.ignore_durability,
            overwrite_cache: args.overwrite_cache,
            out: args.out,
            compare: args.compare,
        }
    }
}
