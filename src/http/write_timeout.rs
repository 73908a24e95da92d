//! Closes connections whose client does not read its response.
//!
//! Neither hyper nor axum-server gives up on an unread response, which may hold megabytes. So a connection that has taken no byte
//! for some time, while some are pending, fails as if it had been cut.

use super::idle::{Counted, Patience, Waiting, watched};
use axum_server::accept::Accept;
use std::future::{Ready, ready};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};

/// Accepts connections with limits on stalls and idleness.
#[derive(Clone, Copy, Debug)]
pub(super) struct WriteTimeoutAcceptor {
    /// How long a client may take no byte of its response.
    pub(super) stalled: Duration,
    /// The limits between requests.
    pub(super) patience: Patience,
}

impl WriteTimeoutAcceptor {
    fn line<S, A>(self, stream: S, answering: A) -> (WriteTimeoutStream<Waiting<S>>, Counted<A>) {
        let (stream, answering) = watched(stream, answering, self.patience);
        let line = WriteTimeoutStream {
            stream,
            patience: self.stalled,
            stalled: None,
        };
        (line, answering)
    }
}

impl<A> Accept<TcpStream, A> for WriteTimeoutAcceptor {
    type Stream = WriteTimeoutStream<Waiting<TcpStream>>;
    type Service = Counted<A>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, answering: A) -> Self::Future {
        // A response is written at once: waiting for more to send would only delay it.
        let accepted = stream.set_nodelay(true);
        ready(accepted.map(|()| self.line(stream, answering)))
    }
}

impl<A> Accept<UnixStream, A> for WriteTimeoutAcceptor {
    type Stream = WriteTimeoutStream<Waiting<UnixStream>>;
    type Service = Counted<A>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: UnixStream, answering: A) -> Self::Future {
        ready(Ok(self.line(stream, answering)))
    }
}

/// A connection that fails when it stalls.
#[derive(Debug)]
pub(super) struct WriteTimeoutStream<S> {
    stream: S,
    patience: Duration,
    /// Fires when bytes have been pending for too long; `None` while none are.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeoutStream<S> {
    fn written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeoutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeoutStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
