//! The `guestbook` binary. Everything is in the library; see `guestbook --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let _armed = guestbook::failpoint::arm();
    guestbook::cli::run(guestbook::config::Cli::read())
}
