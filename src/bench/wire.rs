//! One connection that speaks as much HTTP/1.1 as the bench needs. The client shares the machine with the server, so what it
//! spends is taken from what is measured: it writes a request, and looks at nothing of the answer but its status and length.

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of a head at most.
const HEAD_LIMIT: usize = 16 << 10;

/// A connection that is kept alive.
#[derive(Debug)]
pub(super) struct HttpConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl HttpConnection {
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(HEAD_LIMIT),
        })
    }

    /// Sends a request and reads its answer to the end; its status.
    pub(super) async fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(end) = end_of_head(&self.buffer) {
                break end;
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(io::Error::other("an answer with an endless head"));
            }
            self.more().await?;
        };
        let (status, length) = read_head(&self.buffer[..head])
            .ok_or_else(|| io::Error::other("an answer without a status or a length"))?;
        let mut missing = (head + length).saturating_sub(self.buffer.len());
        while missing > 0 {
            self.buffer.clear();
            missing = missing.saturating_sub(self.more().await?);
        }
        Ok(status)
    }

    async fn more(&mut self) -> io::Result<usize> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let found = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    found.map(|at| at + 4)
}

/// Status and length of the body.
fn read_head(head: &[u8]) -> Option<(u16, usize)> {
    let mut lines = std::str::from_utf8(head).ok()?.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut values = lines.filter_map(|line| line.split_once(':'));
    let length = values.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    Some((status, length.1.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_gives_status_and_length() {
        let head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\n\r\n";
        assert_eq!(end_of_head(head), Some(head.len()));
        assert_eq!(read_head(head), Some((503, 12)));
        assert_eq!(read_head(b"HTTP/1.1 200 OK\r\n\r\n"), None);
    }
}
