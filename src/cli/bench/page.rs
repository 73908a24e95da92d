//! The report as one page that needs nothing else: no script, no font, no picture from anywhere.

use super::chart::{Axis, Chart, Line, Scale, escape};
use super::figure::short;
use super::report::{PairReport, Report, RunReport};
use super::table::{median, ranked};
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
const MIB: f64 = 1_048_576.0;
const HEADS: [&str; 13] = [
    "pair",
    "connections",
    "messages/s",
    "lowest",
    "highest",
    "reads/s",
    "p50 ms",
    "p99 ms",
    "p999 ms",
    "batch",
    "fsyncs/1,000",
    "CPU s/1,000",
    "MiB",
];

pub(super) fn of(report: &Report, is_ranked_anyway: bool) -> String {
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.push_str("<title>guestbook bench</title>\n<style>\n");
    page.push_str(STYLE);
    page.push_str("</style>\n<main>\n");
    head(&mut page, report);
    for (name, pairs) in report.groups(is_ranked_anyway) {
        heading(&mut page, 2, &format!("{name}, by throughput"));
        figures(&mut page, report, &pairs);
        stores(&mut page, &pairs);
        charts(&mut page, report, &pairs);
    }
    page.push_str("</main>\n</html>\n");
    page
}

fn paragraph(page: &mut String, class: &str, text: &str) {
    let _ = writeln!(page, "<p class=\"{class}\">{}</p>", escape(text)); // a String takes everything
}

fn heading(page: &mut String, level: u8, text: &str) {
    let _ = writeln!(page, "<h{level}>{}</h{level}>", escape(text));
}

fn head(page: &mut String, report: &Report) {
    let (how, machine) = (&report.workload, &report.machine);
    heading(page, 1, "guestbook bench");
    paragraph(
        page,
        "soft",
        &format!(
            "{} · guestbook {} · {} processors ({}), {} MiB · {}",
            report.at,
            report.version,
            machine.processors,
            machine.model,
            machine.memory_mib,
            machine.kernel
        ),
    );
    paragraph(
        page,
        "soft",
        &format!(
            "The same workload for each: through {}, {:.0} % writes, texts of about 90 bytes, {} guests, seed {}; at most {} operations \
             and {} s a run, {} rounds. Throughput is that of a closed loop, latency that of an open loop at {:.0} % of it.",
            how.through,
            how.write_share * 100.0,
            how.guests,
            how.seed,
            short(how.messages as f64),
            how.at_most_s,
            how.repeat,
            how.open_loop_share * 100.0
        ),
    );
    for warning in report.warnings() {
        paragraph(page, "warning", &warning);
    }
    heading(page, 2, "What each pair promises");
    table(
        page,
        "promises",
        &["pair", "durability", "tables", "lists"],
        report.pairs.iter().map(|pair| {
            vec![
                pair.pair.clone(),
                pair.durability.clone(),
                pair.tables.clone(),
                pair.lists.clone(),
            ]
        }),
    );
}

fn table(page: &mut String, name: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    // What scrolls must be reachable by the keyboard.
    let _ = write!(
        page,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\"><table><thead><tr>"
    );
    for head in heads {
        let _ = write!(page, "<th scope=\"col\">{}</th>", escape(head));
    }
    page.push_str("</tr></thead><tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            let _ = write!(page, "<td>{}</td>", escape(&cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

fn figures(page: &mut String, report: &Report, pairs: &[&PairReport]) {
    let all = report.connections().into_iter();
    let rows = all.flat_map(|connections| ranked(pairs, connections));
    table(
        page,
        "figures",
        &HEADS,
        rows.map(|(pair, run)| row(pair, run)),
    );
}

fn row(pair: &PairReport, run: &RunReport) -> Vec<String> {
    let of = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let fsyncs = run.counts.and_then(|counts| counts.fsyncs_per_1000);
    vec![
        pair.pair.clone(),
        run.connections.to_string(),
        median(run.messages_per_s),
        of(run.messages_per_s.map(|figure| short(figure.low))),
        of(run.messages_per_s.map(|figure| short(figure.high))),
        median(run.reads_per_s),
        median(run.p50_ms),
        median(run.p99_ms),
        median(run.p999_ms),
        of(run.counts.map(|counts| short(counts.batch_mean))),
        of(fsyncs.map(short)),
        median(run.cpu_s_per_1000),
        median(run.resident_mib),
    ]
}

fn stores(page: &mut String, pairs: &[&PairReport]) {
    let heads = [
        "pair",
        "bytes on disk per message",
        "ms to ready after kill -9",
    ];
    table(
        page,
        "stores",
        &heads,
        pairs.iter().map(|pair| {
            vec![
                pair.pair.clone(),
                median(pair.disk_bytes_per_message),
                median(pair.ready_after_kill_ms),
            ]
        }),
    );
}

fn charts(page: &mut String, report: &Report, pairs: &[&PairReport]) {
    let mut all = vec![throughput(report, pairs)];
    if let Some(most) = report.connections().last() {
        all.push(latency(pairs, *most));
    }
    all.push(growth(pairs));
    for chart in all {
        if let Some(svg) = chart.svg() {
            heading(page, 3, chart.title);
            page.push_str(&svg);
            page.push('\n');
        }
    }
}

fn throughput(report: &Report, pairs: &[&PairReport]) -> Chart {
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
