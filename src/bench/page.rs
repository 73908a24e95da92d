//! The report as one page that needs nothing else: no script, no font, no picture from anywhere.

use super::charts::charts;
use super::report::{BenchReport, PairReport, RunReport};
use super::table::{median, ranked};
use guestbook_chart::escape;
use guestbook_chart::short;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
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

pub(super) fn of(report: &BenchReport, is_ranked_anyway: bool) -> String {
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.push_str("<title>guestbook bench</title>\n<style>\n");
    page.push_str(guestbook_chart::STYLE);
    page.push_str(STYLE);
    page.push_str("</style>\n<main>\n");
    head(&mut page, report);
    for group in report.groups(is_ranked_anyway) {
        heading(&mut page, 2, &format!("{}, by throughput", group.name()));
        figures(&mut page, report, &group.pairs);
        stores(&mut page, &group.pairs);
        for chart in charts(report, &group.pairs) {
            heading(&mut page, 3, chart.title);
            page.push_str(&chart.svg());
            page.push('\n');
        }
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

fn head(page: &mut String, report: &BenchReport) {
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

fn figures(page: &mut String, report: &BenchReport, pairs: &[&PairReport]) {
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
