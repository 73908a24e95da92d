//! The report: what was measured, how, on what, and what it is worth. `report.json` is this, as it stands here.

use super::counting::OperationCounts;
use super::figure::Figure;
use super::machine::Machine;
use super::measure::{RunSeries, Series};
use super::options::BenchTarget;
use super::plan::BenchPlan;
use super::workload::GUESTS;
use guestbook_core::{Clock, SystemClock};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The number of this form. A report of another form cannot be compared with.
pub(super) const SCHEMA: u32 = 1;
/// A spread of repeated runs above this share says that the machine is too noisy: it hides what is worth knowing.
pub(super) const NOISY: f64 = 0.2;
/// Points of a curve at most.
const POINTS: usize = 60;
/// Where the distribution of latencies is read.
const QUANTILES: [f64; 14] = [
    0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999,
];

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct BenchReport {
    pub(super) schema: u32,
    pub(super) version: String,
    pub(super) at: String,
    pub(super) machine: Machine,
    pub(super) workload: BenchSettings,
    pub(super) pairs: Vec<PairReport>,
    /// The largest spread of a throughput over the repeated runs, as a share of its median; `None` after a single run.
    pub(super) worst_spread: Option<f64>,
}

/// How it was measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct BenchSettings {
    pub(super) through: String,
    pub(super) messages: usize,
    pub(super) at_most_s: f64,
    pub(super) write_share: f64,
    pub(super) seed: u64,
    pub(super) guests: u64,
    pub(super) open_loop_share: f64,
    pub(super) repeat: usize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct PairReport {
    pub(super) pair: String,
    /// `full`, `normal` or `none`: that of the tables, which are the truth.
    pub(super) durability: String,
    pub(super) tables: String,
    pub(super) lists: String,
    pub(super) runs: Vec<RunReport>,
    pub(super) disk_bytes_per_message: Option<Figure>,
    pub(super) ready_after_kill_ms: Option<Figure>,
    /// Messages stored and bytes on disk.
    pub(super) growth: Vec<(u64, u64)>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct RunReport {
    pub(super) connections: usize,
    pub(super) messages_per_s: Option<Figure>,
    pub(super) reads_per_s: Option<Figure>,
    pub(super) offered_per_s: Option<Figure>,
    pub(super) p50_ms: Option<Figure>,
    pub(super) p99_ms: Option<Figure>,
    pub(super) p999_ms: Option<Figure>,
    pub(super) cpu_s_per_1000: Option<Figure>,
    pub(super) resident_mib: Option<Figure>,
    pub(super) counts: Option<OperationCounts>,
    pub(super) errors: u64,
    /// Share of the requests and the milliseconds that they did not exceed, over all rounds.
    pub(super) latency: Vec<(f64, f64)>,
}

/// Pairs that may stand in one table.
pub(super) struct RankGroup<'a> {
    /// `any` when they were put together although they promise different things.
    pub(super) durability: &'static str,
    pub(super) pairs: Vec<&'a PairReport>,
}

impl BenchReport {
    pub(super) fn of(plan: &BenchPlan, series: Vec<Series>) -> Self {
        let pairs: Vec<_> = series.into_iter().map(PairReport::of).collect();
        let runs = || pairs.iter().flat_map(|pair| &pair.runs);
        let spreads = runs().filter_map(|run| Some(run.messages_per_s?.spread()));
        let worst = spreads.reduce(f64::max).filter(|_| plan.repeat > 1);
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").into(),
            at: SystemClock.now().to_string(),
            machine: Machine::here(),
            workload: BenchSettings {
                through: match plan.through {
                    BenchTarget::Http => "http".into(),
                    BenchTarget::Storage => "storage".into(),
                },
                messages: plan.messages,
                at_most_s: plan.at_most.as_secs_f64(),
                write_share: plan.write_share(),
                seed: plan.seed,
                guests: GUESTS,
                open_loop_share: f64::from(plan.load) / 100.0,
                repeat: plan.repeat,
            },
            pairs,
            worst_spread: worst,
        }
    }

    /// What everyone who reads a figure has to know first.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        match self.worst_spread {
            None => warnings.push("measured once: nothing says how far these figures would be apart in another run".into()),
            Some(spread) if spread > NOISY => warnings.push(format!(
                "the machine is too noisy: repeated runs of one throughput are {:.0} % apart; differences below that mean nothing",
                spread * 100.0
            )),
            Some(_) => {}
        }
        for (pair, run) in self
            .pairs
            .iter()
            .flat_map(|pair| pair.runs.iter().map(move |run| (pair, run)))
        {
            if run.errors > 0 {
                warnings.push(format!(
                    "{}, {} at a time: {} operations failed; its figures are not those of a healthy store",
                    pair.pair, run.connections, run.errors
                ));
            }
        }
        warnings
    }

    /// The pairs by what they promise, the most first; those of one group may be compared.
    pub(super) fn groups(&self, is_ranked_anyway: bool) -> Vec<RankGroup<'_>> {
        let pairs = self.pairs.iter();
        if is_ranked_anyway {
            return vec![RankGroup {
                durability: "any",
                pairs: pairs.collect(),
            }];
        }
        let group = |durability| RankGroup {
            durability,
            pairs: pairs
                .clone()
                .filter(|pair| pair.durability == durability)
                .collect(),
        };
        let mut groups: Vec<_> = ["full", "normal", "none"].map(group).into();
        groups.retain(|group| !group.pairs.is_empty());
        groups
    }

    /// Every number of connections there is.
    pub(super) fn connections(&self) -> Vec<usize> {
        let all = self
            .pairs
            .iter()
            .flat_map(|pair| &pair.runs)
            .map(|run| run.connections);
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl RankGroup<'_> {
    pub(super) fn name(&self) -> String {
        match self.durability {
            "any" => "any durability".into(),
            durability => format!("durability {durability}"),
        }
    }
}

impl PairReport {
    fn of(series: Series) -> Self {
        let [tables, lists] = series.promises.map_or_else(Default::default, |promises| {
            promises.map(|it| (it.durability.to_string(), it.settings))
        });
        let every = series.growth.len().div_ceil(POINTS).max(1);
        let runs = series.runs.into_iter();
        Self {
            pair: series.pair.to_string(),
            durability: tables.0,
            tables: tables.1,
            lists: format!("{}: {}", lists.0, lists.1),
            runs: runs
                .map(|(connections, runs)| RunReport::of(connections, runs))
                .collect(),
            disk_bytes_per_message: Figure::of(&series.disk),
            ready_after_kill_ms: Figure::of(&series.ready_ms),
            growth: series.growth.into_iter().step_by(every).collect(),
        }
    }

    pub(super) fn run(&self, connections: usize) -> Option<&RunReport> {
        self.runs.iter().find(|run| run.connections == connections)
    }
}

impl RunReport {
    fn of(connections: usize, runs: RunSeries) -> Self {
        Self {
            connections,
            messages_per_s: Figure::of(&runs.messages_per_s),
            reads_per_s: Figure::of(&runs.reads_per_s),
            offered_per_s: Figure::of(&runs.offered_per_s),
            p50_ms: Figure::of(&runs.p50_ms),
            p99_ms: Figure::of(&runs.p99_ms),
            p999_ms: Figure::of(&runs.p999_ms),
            cpu_s_per_1000: Figure::of(&runs.cpu_s_per_1000),
            resident_mib: Figure::of(&runs.resident_mib),
            counts: runs.counts,
            errors: runs.errors,
            latency: distribution(&runs.latency),
        }
    }
}

fn distribution(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    if latency.is_empty() {
        return Vec::new();
    }
    let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    QUANTILES.map(|quantile| (quantile, ms(quantile))).into()
}
