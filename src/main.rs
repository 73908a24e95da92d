//! The `guestbook` binary. Everything is in the library; see `guestbook --help`.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Every write of sled makes a page of its tree anew, and requests come and go on several threads: glibc's allocator took a tenth
/// of all time, and kept more memory.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let _armed = guestbook::failpoint::arm();
    guestbook::cli::run(guestbook::config::Cli::read())
}
