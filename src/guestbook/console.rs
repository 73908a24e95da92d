//! Standard output and standard error: the only place that writes to them.
//!
//! Whatever they are connected to may be full, gone, or never read. So nothing here panics, and nothing that serves waits:
//! lines for standard error pass through a bounded queue to a thread of their own (`lines`), the banner has a thread of its
//! own, and only a command that has nothing left to do waits until its result is written.
//!
//! **Invariant:** nothing else writes to either; `clippy.toml` forbids the macros and functions that would.

#![allow(clippy::disallowed_methods)] // this is the one place

mod filter;
mod lines;
mod log;

pub use filter::LogFilter;
pub use log::{Form, Log, dropped};

use std::io::{self, BufWriter, Write};

/// Says something to a person at standard error, whatever is logged: also where the queue is full.
pub fn tell(line: &str) {
    lines::STDERR.push_always(format!("{line}\n").into_bytes());
}

/// Writes the result of a command to standard output. A reader that has seen enough, such as `head`, is no failure.
///
/// # Errors
/// Why it could not be written, for a person.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), String> {
    let mut out = BufWriter::new(io::stdout().lock());
    outcome(write(&mut out).and_then(|()| out.flush()))
}

/// Writes a part of the result of a command to standard output.
///
/// # Errors
/// What the system said; [`outcome`] makes words of it.
pub fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}

/// What became of writing a result. A reader that has seen enough, such as `head`, is no failure.
///
/// # Errors
/// Why it could not be written, for a person.
pub fn outcome(written: io::Result<()>) -> Result<(), String> {
    match written {
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("the result cannot be written: {cause}"))
        }
        _ => Ok(()),
    }
}

/// Writes what only a person reads to standard output, in its own time. It is lost where nobody takes it.
pub fn announce(text: String) {
    let thread = std::thread::Builder::new().name("banner".into());
    let written = thread.spawn(move || {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    });
    drop(written); // whether there is a banner changes nothing
}
