//! What has changed since an earlier report: a ratio for each figure, and whether it is more than the runs of one are apart.

use super::BenchError;
use super::figure::Figure;
use super::report::{BenchReport, PairReport, RunReport, SCHEMA};
use guestbook_chart::short;
use serde::Deserialize;
use std::path::Path;

/// The number of a report's form, whatever else is in it.
#[derive(Deserialize)]
struct ReportVersion {
    schema: u32,
}

pub(super) fn read(file: &Path) -> Result<BenchReport, BenchError> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|cause| format!("--compare: {shown} cannot be read: {cause}"))?;
    let other =
        |cause| format!("--compare: {shown} is no report.json of `guestbook bench`: {cause}");
    let form: ReportVersion = serde_json::from_str(&text).map_err(other)?;
    if form.schema != SCHEMA {
        return Err(format!(
            "--compare: {shown} is a report of form {}, and this version reads form {SCHEMA}; measure both with one version",
            form.schema
        ));
    }
    serde_json::from_str(&text).map_err(other)
}

/// A figure before and now.
struct FigureChange {
    what: String,
    before: Figure,
    now: Figure,
}

pub(super) fn table(earlier: &BenchReport, now: &BenchReport) -> String {
    let mut out = format!("\ncompared with {} of {}\n", earlier.version, earlier.at);
    if earlier.workload != now.workload {
        out.push_str(
            "WARNING: it was measured with other settings; what has changed may be those\n",
        );
    }
    if earlier.machine.model != now.machine.model
        || earlier.machine.processors != now.machine.processors
    {
        out.push_str("WARNING: it was measured on another machine; what has changed may be that\n");
    }
    let changes = changes(earlier, now);
    if changes.is_empty() {
        out.push_str(
            "nothing was measured in both: neither a pair with the same number of connections\n",
        );
        return out;
    }
    let is_spread_known = [earlier, now].iter().all(|one| one.workload.repeat > 1);
    if !is_spread_known {
        out.push_str(
            "one of the two was measured once: nothing is known of its spread, so any change may be chance; measure both with --repeat 3 or more\n",
        );
    }
    for change in changes {
        let ratio = change.now.median / change.before.median;
        let mark = match is_spread_known && change.now.is_apart_from(&change.before) {
            true => "beyond the spread",
            false => "",
        };
        let line = format!(
            "  {:<48}{:>12} →{:>12}   × {ratio:.2}  {mark}",
            change.what,
            short(change.before.median),
            short(change.now.median)
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn changes(earlier: &BenchReport, now: &BenchReport) -> Vec<FigureChange> {
    let mut changes = Vec::new();
    for pair in &now.pairs {
        let found = earlier.pairs.iter().find(|other| other.pair == pair.pair);
        let Some(before) = found else { continue };
        for run in &pair.runs {
            if let Some(other) = before.run(run.connections) {
                let named = |what| format!("{}, {} conns: {what}", pair.pair, run.connections);
                changes.extend(pairwise(&of_run(other), &of_run(run), named));
            }
        }
        let named = |what| format!("{}: {what}", pair.pair);
        changes.extend(pairwise(&of_pair(before), &of_pair(pair), named));
    }
    changes
}

fn pairwise(
    before: &[(&'static str, Option<Figure>)],
    now: &[(&'static str, Option<Figure>)],
    named: impl Fn(&'static str) -> String,
) -> Vec<FigureChange> {
    let both = before.iter().zip(now);
    let change = |(before, now): (&(_, Option<Figure>), &(&'static str, Option<Figure>))| {
        Some(FigureChange {
            what: named(now.0),
            before: before.1.filter(|figure| figure.median > 0.0)?,
            now: now.1?,
        })
    };
    both.filter_map(change).collect()
}

fn of_run(run: &RunReport) -> [(&'static str, Option<Figure>); 7] {
    [
        ("messages/s", run.messages_per_s),
        ("reads/s", run.reads_per_s),
        ("p50 ms", run.p50_ms),
        ("p99 ms", run.p99_ms),
        ("p999 ms", run.p999_ms),
        ("cpu s/1,000", run.cpu_s_per_1000),
        ("rss MiB", run.resident_mib),
    ]
}

fn of_pair(pair: &PairReport) -> [(&'static str, Option<Figure>); 2] {
    [
        ("bytes on disk/message", pair.disk_bytes_per_message),
        ("ms to ready after kill -9", pair.ready_after_kill_ms),
    ]
}
