//! The `guestbook` binary. Everything is in the library; see `guestbook --help`.

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // as in src/guestbook/lib.rs

use std::process::ExitCode;

fn main() -> ExitCode {
    let _armed = guestbook::failpoint::arm();
    guestbook::cli::run(guestbook::config::Cli::read())
}
