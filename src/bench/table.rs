//! The report for a terminal.

use super::figure::Figure;
use super::report::{BenchReport, PairReport, RunReport};
use guestbook_chart::short;
use std::fmt::Write;

/// Everything there is to read, with the pairs of each durability in tables of their own.
pub(super) fn of(report: &BenchReport, is_ranked_anyway: bool) -> String {
    let mut out = String::new();
    let (how, machine) = (&report.workload, &report.machine);
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!("guestbook {}, {}", report.version, report.at));
    line(format!(
        "{} processors ({}), {} MiB, {}",
        machine.processors, machine.model, machine.memory_mib, machine.kernel
    ));
    line(format!(
        "through {}, {:.0} % writes, seed {}, at most {} operations and {} s a run, {} rounds; latency in an open loop at {:.0} % of \
         the throughput just found",
        how.through,
        how.write_share * 100.0,
        how.seed,
        how.messages,
        how.at_most_s,
        how.repeat,
        how.open_loop_share * 100.0
    ));
    for pair in &report.pairs {
        line(format!(
            "  {:<16} durability {}: {}; lists {}",
            pair.pair, pair.durability, pair.tables, pair.lists
        ));
    }
    for warning in report.warnings() {
        line(format!("WARNING: {warning}"));
    }
    let groups = report.groups(is_ranked_anyway);
    if groups.len() > 1 {
        line(
            "pairs of different durability are not ranked against each other (--ignore-durability does)"
                .into(),
        );
    }
    for group in groups {
        line(String::new());
        line(format!("{}, by throughput", group.name()));
        line(format!(
            "  {:<16}{:>6}{:>12}{:>8}{:>12}{:>9}{:>9}{:>9}{:>20}{:>10}{:>10}{:>9}",
            "pair",
            "conns",
            "messages/s",
            "±%",
            "reads/s",
            "p50 ms",
            "p99 ms",
            "p999 ms",
            "batch mean/p50/max",
            "fsync/1k",
            "cpu s/1k",
            "rss MiB"
        ));
        for connections in report.connections() {
            for (pair, run) in ranked(&group.pairs, connections) {
                line(row(pair, run));
            }
        }
        for pair in group.pairs {
            line(stores(pair));
        }
    }
    out
}

/// The pairs at one number of connections, the fastest first.
pub(super) fn ranked<'a>(
    pairs: &[&'a PairReport],
    connections: usize,
) -> Vec<(&'a PairReport, &'a RunReport)> {
    let with_run = |pair: &&'a PairReport| Some((*pair, pair.run(connections)?));
    let mut ranked: Vec<_> = pairs.iter().filter_map(with_run).collect();
    let rate = |run: &RunReport| run.messages_per_s.map_or(0.0, |figure| figure.median);
    ranked.sort_by(|(_, a), (_, b)| rate(b).total_cmp(&rate(a)));
    ranked
}

fn row(pair: &PairReport, run: &RunReport) -> String {
    let batch = run.counts.map_or_else(
        || "-".to_owned(),
        |it| format!("{}/{}/{}", short(it.batch_mean), it.batch_p50, it.batch_max),
    );
    let fsyncs = run.counts.and_then(|counts| counts.fsyncs_per_1000);
    let spread = run.messages_per_s.map(|figure| figure.spread() * 50.0);
    format!(
        "  {:<16}{:>6}{:>12}{:>8}{:>12}{:>9}{:>9}{:>9}{:>20}{:>10}{:>10}{:>9}",
        pair.pair,
        run.connections,
        median(run.messages_per_s),
        spread.map_or_else(|| "-".into(), |half| format!("{half:.0}")),
        median(run.reads_per_s),
        median(run.p50_ms),
        median(run.p99_ms),
        median(run.p999_ms),
        batch,
        fsyncs.map_or_else(|| "-".into(), short),
        median(run.cpu_s_per_1000),
        median(run.resident_mib),
    )
}

fn stores(pair: &PairReport) -> String {
    let mut text = format!("  {:<16}", pair.pair);
    let figures = [
        (pair.disk_bytes_per_message, "bytes on disk per message"),
        (
            pair.ready_after_kill_ms,
            "ms from the start after kill -9 to ready",
        ),
    ];
    for (figure, what) in figures {
        let _ = write!(text, "{} {what}   ", median(figure)); // a String takes everything
    }
    text.trim_end().to_owned()
}

pub(super) fn median(figure: Option<Figure>) -> String {
    figure.map_or_else(|| "-".into(), |figure| short(figure.median))
}
