//! The charts that people look at, of a group of pairs: each stands in the page, and in a file of its own.

use super::report::{BenchReport, PairReport};
use guestbook_chart::short;
use guestbook_chart::{Axis, Chart, Line, Scale};

const MIB: f64 = 1_048_576.0;

/// Those that have something to show.
pub(super) fn charts(report: &BenchReport, pairs: &[&PairReport]) -> Vec<Chart> {
    let most = report.connections().last().copied();
    let mut all = vec![throughput(report, pairs)];
    all.extend(most.map(|most| latency(pairs, most)));
    all.push(growth(pairs));
    all.retain(Chart::has_points);
    all
}

/// The files of all charts: name and text.
pub(super) fn files(report: &BenchReport, is_ranked_anyway: bool) -> Vec<(String, String)> {
    let groups = report.groups(is_ranked_anyway);
    let of = |group: &super::report::RankGroup<'_>| {
        let durability = group.durability;
        let charts = charts(report, &group.pairs).into_iter();
        let file = move |chart: Chart| (format!("{}-{durability}.svg", chart.name), chart.file());
        charts.map(file).collect::<Vec<_>>()
    };
    groups.iter().flat_map(of).collect()
}

fn throughput(report: &BenchReport, pairs: &[&PairReport]) -> Chart {
    let line = |pair: &&PairReport| {
        let runs = || {
            pair.runs
                .iter()
                .filter_map(|run| Some((run.connections, run.messages_per_s?)))
        };
        Line {
            name: pair.pair.clone(),
            points: runs()
                .map(|(connections, figure)| (connections as f64, figure.median))
                .collect(),
            labels: runs()
                .map(|(connections, figure)| {
                    let (median, low, high) =
                        (short(figure.median), short(figure.low), short(figure.high));
                    format!(
                        "{}, {connections} connections: {median} messages/s ({low} to {high})",
                        pair.pair
                    )
                })
                .collect(),
        }
    };
    let ticks = report.connections().into_iter();
    Chart {
        name: "throughput",
        title: "Throughput by connections",
        across: Axis {
            name: "connections",
            scale: Scale::Logarithmic,
            ticks: ticks.map(|it| (it as f64, it.to_string())).collect(),
        },
        up: linear("messages/s"),
        lines: pairs.iter().map(line).collect(),
    }
}

/// Across, each step is ten times rarer: so the rare and slow ones have as much room as the others.
fn latency(pairs: &[&PairReport], connections: usize) -> Chart {
    let rarity = |share: f64| 1.0 / (1.0 - share);
    let line = |pair: &&PairReport| {
        let points = pair
            .run(connections)
            .map(|run| run.latency.clone())
            .unwrap_or_default();
        let label = |(share, ms): &(f64, f64)| {
            format!(
                "{}: {} % within {} ms",
                pair.pair,
                share * 100.0,
                short(*ms)
            )
        };
        Line {
            name: pair.pair.clone(),
            labels: points.iter().map(label).collect(),
            points: points
                .iter()
                .map(|(share, ms)| (rarity(*share), *ms))
                .collect(),
        }
    };
    let ticks = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999]
        .map(|share: f64| (rarity(share), format!("{} %", share * 100.0)));
    Chart {
        name: "latency",
        title: "Latency distribution, open loop, at the most connections",
        across: Axis {
            name: "share of the requests",
            scale: Scale::Logarithmic,
            ticks: ticks.into(),
        },
        up: Axis {
            name: "within ms",
            scale: Scale::Logarithmic,
            ticks: Vec::new(),
        },
        lines: pairs.iter().map(line).collect(),
    }
}

fn growth(pairs: &[&PairReport]) -> Chart {
    let line = |pair: &&PairReport| {
        let label = |(messages, bytes): &(u64, u64)| {
            let (messages, mib) = (short(*messages as f64), short(*bytes as f64 / MIB));
            format!("{}: {messages} messages, {mib} MiB", pair.pair)
        };
        Line {
            name: pair.pair.clone(),
            points: pair
                .growth
                .iter()
                .map(|(messages, bytes)| (*messages as f64, *bytes as f64 / MIB))
                .collect(),
            labels: pair.growth.iter().map(label).collect(),
        }
    };
    Chart {
        name: "growth",
        title: "Disk growth",
        across: linear("messages stored"),
        up: linear("MiB on disk"),
        lines: pairs
            .iter()
            .map(line)
            .filter(|line| !line.points.is_empty())
            .collect(),
    }
}

fn linear(name: &'static str) -> Axis {
    Axis {
        name,
        scale: Scale::Linear,
        ticks: Vec::new(),
    }
}
