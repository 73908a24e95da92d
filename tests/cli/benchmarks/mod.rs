//! `guestbook bench`, with so little to do that it takes seconds: what it measures, says and refuses, and what it leaves alone. No
//! figure is held to a limit: time on a shared machine is no test.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod refusing;
mod reporting;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod sparing;
mod stopping;

use guestbook_testkit::process::{Place, guestbook};
use std::process::{Command, Output};

/// What makes it short, unless the test says otherwise.
const SHORT: [[&str; 2]; 4] = [
    ["--messages", "200"],
    ["--max-duration", "300ms"],
    ["--connections", "1,4"],
    ["--repeat", "2"],
];

/// `guestbook bench` with little to do, and with all its temporary files in this place.
fn bench(place: &Place, arguments: &[&str]) -> Command {
    let mut command = guestbook(&["bench"]);
    let said = |flag: &str| arguments.contains(&flag);
    command.args(SHORT.iter().filter(|[flag, _]| !said(flag)).flatten());
    command.args(arguments).env("TMPDIR", place.path());
    command.current_dir(place.path());
    command
}

/// Runs a bench that must go well.
fn run(place: &Place, arguments: &[&str]) -> String {
    let output: Output = guestbook_testkit::process::finish(bench(place, arguments));
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        guestbook_testkit::process::stderr(&output)
    );
    guestbook_testkit::process::stdout(&output)
}
