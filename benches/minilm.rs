//! What a vector of the larger model takes on this machine: one message alone, and many together on all of its threads, beside the
//! built-in table in the same run.
//!
//! `cargo bench --bench minilm`. The files come from `tests/models`; where that cannot be, SKIP is printed.

mod common;

use common::TEXT;
use guestbook::embed::table::StaticTable;
use guestbook::embed::{Embedder, InlineEmbedder};
use guestbook::minilm::MiniLm;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Texts that are given to the model together.
const TOGETHER: usize = 64;
const ROUNDS: usize = 5;

fn main() {
    let Some(folder) = folder() else { return };
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let span = Duration::from_millis(if is_measured { 2000 } else { 1 });
    let model = MiniLm::open(&folder).expect("the files of the model");
    let table = StaticTable::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let texts: Vec<_> = (0..TOGETHER).map(|n| format!("{TEXT} #{n}")).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let embed = |texts: &[&str]| {
        let answers = runtime.block_on(model.embed(texts));
        let all = answers.iter().all(|answer| matches!(answer, Ok(Some(_))));
        assert!(all, "every text has a vector");
    };
    println!(
        "{:<28} {:>14} {:>14} {:>14}",
        "ms a message", "least", "median", "most"
    );
    report("static", span, 1, || {
        table.embed_now(texts[0]).expect("a table cannot fail");
    });
    report("minilm, one alone", span, 1, || embed(&texts[..1]));
    report("minilm, 64 together", span, TOGETHER, || embed(&texts));
}

/// Milliseconds a message, of several rounds.
fn report(name: &str, span: Duration, messages: usize, mut work: impl FnMut()) {
    work(); // warm
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let (began, mut done) = (Instant::now(), 0);
            while done == 0 || began.elapsed() < span {
                work();
                done += messages;
            }
            began.elapsed().as_secs_f64() * 1000.0 / done as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let [least, median, most] = [rounds[0], rounds[ROUNDS / 2], rounds[ROUNDS - 1]];
    println!("{name:<28} {least:>14.4} {median:>14.4} {most:>14.4}");
}

/// The folder of the model; `None` where it cannot be had.
fn folder() -> Option<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/models");
    let output = Command::new(script).output().expect("a shell");
    if output.status.code() == Some(77) {
        println!("SKIP: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    assert!(output.status.success(), "{output:?}");
    let path = String::from_utf8(output.stdout).expect("a path in UTF-8");
    Some(path.trim_end().into())
}
