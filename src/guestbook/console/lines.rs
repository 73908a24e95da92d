//! Lines on their way to standard error. Whoever has one to write never waits: what does not fit is dropped and counted.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of lines that may wait: five times what a batch of 1,024 messages says at `debug`, all of it at once.
const LIMIT: usize = 8 << 20;
/// What a line takes besides its text.
const OVERHEAD: usize = 64;
/// Between two tries of a descriptor that does not block and is full.
const AGAIN: Duration = Duration::from_millis(10);

/// How long the writer looks away after the last line there was: what comes then need not wake it, which would cost whoever has
/// a line more than the line does. Under load there is one every half millisecond.
const REST: Duration = Duration::from_millis(5);

/// What waits for standard error.
pub(super) static STDERR: Lines = Lines::new(LIMIT);

/// A bounded queue of lines.
#[derive(Debug)]
pub(super) struct Lines {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether a line was taken and is not written yet.
    is_writing: bool,
    /// How many threads wait for a change: nobody is woken who does not sleep.
    sleeping: usize,
}

impl Lines {
    const fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                bytes: 0,
                is_writing: false,
                sleeping: 0,
            }),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Queues a line, or drops and counts it where there is no room.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.bytes + line.len() + OVERHEAD > self.limit {
            drop(state);
            return self.lose();
        }
        state.add(line.to_vec());
        self.wake(state);
    }

    /// Queues a line for which there is always room. For the few that must not be lost.
    pub(super) fn push_always(&self, line: Vec<u8>) {
        let mut state = self.state();
        state.add(line);
        self.wake(state);
    }

    /// How many lines were lost since the start: dropped for want of room, or refused by what they were written to.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes what comes, for ever; `after` is called after each line that was written whole.
    pub(super) fn write_to(&self, mut out: impl Write, mut after: impl FnMut()) {
        let mut is_torn = false;
        loop {
            let line = self.take();
            let written = write_line(&mut out, &line, &mut is_torn);
            match written {
                Ok(()) => after(),
                Err(_) => self.lose(), // there is nobody to tell, until a line is written again
            }
            let mut state = self.state();
            state.is_writing = false;
            self.wake(state);
        }
    }

    /// Waits until all is written, at most so long.
    pub(super) fn wait_until_written(&self, limit: Duration) {
        let (until, mut state) = (Instant::now() + limit, self.state());
        while state.is_writing || !state.waiting.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state.sleeping += 1;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.sleeping -= 1;
        }
    }

    fn take(&self) -> Vec<u8> {
        if let Some(line) = self.state().take() {
            return line;
        }
        std::thread::sleep(REST);
        let mut state = self.state();
        loop {
            if let Some(line) = state.take() {
                return line;
            }
            state.sleeping += 1;
            let changed = self.changed.wait(state);
            state = changed.unwrap_or_else(PoisonError::into_inner);
            state.sleeping -= 1;
        }
    }

    fn wake(&self, state: MutexGuard<'_, State>) {
        let sleeping = state.sleeping;
        drop(state);
        if sleeping > 0 {
            self.changed.notify_all();
        }
    }

    fn lose(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, line: Vec<u8>) {
        self.bytes += line.len() + OVERHEAD;
        self.waiting.push_back(line);
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let line = self.waiting.pop_front()?;
        self.bytes -= line.len() + OVERHEAD;
        self.is_writing = true;
        Some(line)
    }
}

/// Writes a line. What is left of a line that was written in part is ended first, so that the next one stands by itself.
fn write_line(out: &mut impl Write, line: &[u8], is_torn: &mut bool) -> io::Result<()> {
    if *is_torn {
        write_all(out, b"\n").map_err(|(_, cause)| cause)?;
        *is_torn = false;
    }
    write_all(out, line).map_err(|(written, cause)| {
        *is_torn = written > 0;
        cause
    })
}

/// As [`Write::write_all`], also where the other side says that it cannot take more at this moment: this thread has time. An
/// error comes with the bytes that were written before it.
fn write_all(out: &mut impl Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
            Err(cause) => return Err((written, cause)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, mpsc};

    /// Takes what it is told to: so many bytes, or an error.
    #[derive(Debug)]
    struct Disk {
        takes: VecDeque<io::Result<usize>>,
        seen: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.takes.pop_front().unwrap_or(Ok(usize::MAX))?;
            let count = count.min(bytes.len());
            self.seen.lock().unwrap().extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes lines to a disk that takes what it is told to; what stands there in the end, and how many lines were lost.
    fn written(
        lines: &[&str],
        takes: impl IntoIterator<Item = io::Result<usize>>,
    ) -> (String, u64) {
        let queue: &'static Lines = Box::leak(Box::new(Lines::new(LIMIT)));
        let seen = Arc::default();
        let disk = Disk {
            takes: takes.into_iter().collect(),
            seen: Arc::clone(&seen),
        };
        for line in lines {
            queue.push(line.as_bytes());
        }
        std::thread::spawn(move || queue.write_to(disk, || {}));
        queue.wait_until_written(Duration::from_secs(60));
        let text = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
        (text, queue.dropped())
    }

    fn full() -> io::Result<usize> {
        Err(ErrorKind::StorageFull.into())
    }

    #[test]
    fn lines_that_cannot_be_written_are_lost_and_counted_and_the_next_ones_are_not() {
        let lines = ["one\n", "two\n", "three\n"];
        assert_eq!(written(&lines, []), ("one\ntwo\nthree\n".into(), 0));
        assert_eq!(written(&lines, [full(), full()]), ("three\n".into(), 2));
    }

    #[test]
    fn a_line_that_was_torn_does_not_run_into_the_next_one() {
        let (text, lost) = written(&["one\n", "two\n", "three\n"], [Ok(2), full(), full()]);
        assert_eq!((text.as_str(), lost), ("on\nthree\n", 2));
    }

    #[test]
    fn whoever_cannot_take_more_at_this_moment_is_asked_again() {
        let later = || Err(ErrorKind::WouldBlock.into());
        let takes = [later(), Ok(1), later(), Err(ErrorKind::Interrupted.into())];
        assert_eq!(written(&["one\n"], takes), ("one\n".into(), 0));
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted_and_the_last_word_always_fits() {
        let queue = Lines::new(2 * (4 + OVERHEAD));
        for line in ["one\n", "two\n", "six\n"] {
            queue.push(line.as_bytes());
        }
        queue.push_always(b"end\n".to_vec());
        assert_eq!(queue.dropped(), 1);
        let texts = [queue.take(), queue.take(), queue.take()];
        assert_eq!(texts, [b"one\n", b"two\n", b"end\n"]);
        queue.push(&[b'x'; LIMIT]);
        assert_eq!(queue.dropped(), 2, "longer than everything that may wait");
    }

    #[test]
    fn nobody_waits_longer_than_allowed_for_somebody_who_takes_nothing() {
        let queue: &'static Lines = Box::leak(Box::new(Lines::new(LIMIT)));
        let (never, block) = mpsc::channel::<()>();
        struct Hung(mpsc::Receiver<()>);
        impl Write for Hung {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        std::thread::spawn(move || queue.write_to(Hung(block), || {}));
        queue.push(b"one\n");
        queue.wait_until_written(Duration::from_millis(20));
        drop(never);
        queue.wait_until_written(Duration::from_secs(60));
        assert_eq!(queue.dropped(), 0);
    }
}
