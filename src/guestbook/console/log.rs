//! The log: events become lines, and lines pass to standard error without anybody waiting for it.

use super::filter::LogFilter;
use super::lines::STDERR;
use guestbook_core::error::panic_text;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::time::{Duration, Instant};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// How long the last lines may take at the end of the process.
const LAST_LINES: Duration = Duration::from_millis(300);
/// How often the log says that lines of it were lost.
const TELL_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    /// Whether this is the thread that writes. What it has to say itself, that lines were lost, comes when there is no room.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// For people.
    Text,
    /// A JSON object.
    Json,
}

/// Lines of the log that were lost since the start, because nobody took them.
pub fn dropped() -> u64 {
    STDERR.dropped()
}

/// What writes to standard error. When it is dropped, what waits is written, if that can be done at once.
#[derive(Debug)]
pub struct Log(());

impl Log {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// What the system said when it refused the thread. It was tried to say so at standard error.
    pub fn start() -> io::Result<Self> {
        let thread = std::thread::Builder::new().name("log".into());
        let mut lost = Lost::default();
        let write = move || {
            IS_WRITER.set(true);
            STDERR.write_to(io::stderr(), || lost.tell(TELL_EVERY));
        };
        let started = thread.spawn(write).map(|_| Self(()));
        started.inspect_err(|cause| {
            let _ = writeln!(io::stderr(), "guestbook: no thread for the log: {cause}");
        })
    }

    /// From now on events are logged, and panics are events.
    pub fn open(&self, filter: &LogFilter, form: Form) {
        let is_coloured = is_coloured(
            io::stderr().is_terminal(),
            std::env::var_os("NO_COLOR").as_deref(),
        );
        let lines = fmt::layer()
            .with_writer(|| Line)
            .with_ansi(is_coloured)
            .log_internal_errors(false); // that would be an eprintln!, which waits and panics
        let lines = match form {
            Form::Text => lines.with_target(false).boxed(),
            Form::Json => lines.json().flatten_event(true).boxed(),
        };
        let opened = registry().with(lines).with(filter.0.clone()).try_init();
        if opened.is_ok() {
            std::panic::set_hook(Box::new(log_panic));
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        STDERR.wait_until_written(LAST_LINES);
    }
}

/// Colours are for terminals, and not for whoever sets `NO_COLOR` (<https://no-color.org>).
fn is_coloured(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// Takes one line, whole: the formatter writes each event at once.
struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match IS_WRITER.get() {
            true => STDERR.push_always(line.to_vec()),
            false => STDERR.push(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The hook of the standard library writes to standard error itself, on the thread that panicked, and may wait there for ever.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let (thread, text) = (
        thread.name().unwrap_or("unnamed"),
        panic_text(panic.payload()),
    );
    let place = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture(); // empty unless RUST_BACKTRACE asks for it
    match backtrace.status() {
        BacktraceStatus::Captured => {
            tracing::error!(thread, place, %backtrace, "panicked: {text}");
        }
        _ => tracing::error!(thread, place, "panicked: {text}"),
    }
}

/// What the log said of lost lines.
#[derive(Debug, Default)]
struct Lost {
    told: u64,
    at: Option<Instant>,
}

impl Lost {
    /// Says how many lines were lost since it was said last, not more often than this.
    fn tell(&mut self, every: Duration) {
        let total = STDERR.dropped();
        if total == self.told || self.at.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        let lines = total - self.told;
        (self.told, self.at) = (total, Some(Instant::now()));
        tracing::warn!(
            lines,
            total,
            "log lines were dropped: standard error did not take them"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_of_those_who_want_them() {
        let set = |text| Some(OsStr::new(text));
        assert!(is_coloured(true, None) && is_coloured(true, set("")));
        assert!(!is_coloured(true, set("1")) && !is_coloured(true, set("0")));
        assert!(!is_coloured(false, None));
    }
}
