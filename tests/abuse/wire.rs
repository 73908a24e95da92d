//! One connection, byte by byte.

use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

/// What an answer or an end may take; far more than it does.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection and what came over it that was not looked at yet.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    heard: Vec<u8>,
    /// The server has closed its side.
    ended: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The value of a header; names are compared as HTTP does.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut named = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Wire {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            heard: Vec::new(),
            ended: false,
        }
    }

    /// As [`Self::open`]; the system takes a few KiB ahead of us.
    pub(crate) fn with_little_room(address: SocketAddr) -> Self {
        let wire = Self::open(address);
        set_socket_recv_buffer_size(&wire.stream, 4096).unwrap();
        wire
    }

    /// Waits for the first byte of an answer, and takes none.
    pub(crate) fn await_first(&self) {
        assert_ne!(self.stream.peek(&mut [0]).unwrap(), 0, "it was closed");
    }

    /// Sends bytes, as many as the server takes: one that has refused already need not read the rest.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Says that nothing more comes, and still listens.
    pub(crate) fn half_close(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next answer to a request of this method; `None` when the server closes instead.
    pub(crate) fn reply(&mut self, is_head: bool) -> Option<Reply> {
        loop {
            if let Some(reply) = self.take_reply(is_head) {
                return Some(reply);
            }
            if !self.hear() {
                return None;
            }
        }
    }

    /// Waits for the end; whatever still came, and how long it took.
    pub(crate) fn closed(mut self) -> (String, Duration) {
        let since = Instant::now();
        while self.hear() {}
        let rest = String::from_utf8_lossy(&self.heard).into_owned();
        (rest, since.elapsed())
    }

    /// Reads some more; whether anything came.
    fn hear(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
            Err(cause) if cause.kind() == ErrorKind::ConnectionReset => self.ended = true,
            Err(cause) => panic!(
                "neither an answer nor an end within {PATIENCE:?}: {cause}; heard {:?}",
                String::from_utf8_lossy(&self.heard)
            ),
        }
        !self.ended
    }

    fn take_reply(&mut self, is_head: bool) -> Option<Reply> {
        let end = self.heard.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.heard[..end]).into_owned();
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let reply = Reply {
            status: status.unwrap_or_else(|| panic!("no status: {head}")),
            head,
            body: Vec::new(),
        };
        let chunks = match reply.header("content-length") {
            _ if is_head || reply.status < 200 => Vec::new(),
            Some(length) => std::iter::once(end..end + length.parse::<usize>().unwrap()).collect(),
            None if reply.header("transfer-encoding") == Some("chunked") => {
                chunks(&self.heard, end)?
            }
            None => panic!("an answer without a length: {}", reply.head),
        };
        let end = chunks.last().map_or(end, |last| last.end);
        self.heard.get(..end)?;
        let body = chunks.into_iter().flat_map(|chunk| &self.heard[chunk]);
        let body = body.copied().collect();
        self.heard.drain(..end);
        Some(Reply { body, ..reply })
    }
}

/// Where the chunks of a body are that begins at `from`, and behind them an empty one at its end; `None` while that has not come.
fn chunks(heard: &[u8], from: usize) -> Option<Vec<Range<usize>>> {
    let (mut chunks, mut at) = (Vec::new(), from);
    loop {
        let line = heard.get(at..)?.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&heard[at..at + line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let begin = at + line + 2;
        at = begin + size + 2; // the line behind it; of the last one it is the empty trailer
        if size == 0 {
            heard.get(..at)?;
            chunks.push(at..at);
            return Some(chunks);
        }
        chunks.push(begin..begin + size);
    }
}
