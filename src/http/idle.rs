//! Time limits of a connection between requests.
//!
//! hyper has one limit for two things: a connection that is kept alive and says nothing, and a head that trickles in. A proxy
//! keeps connections for a minute and sends its next request into one that we are just closing; a head has no reason to take that
//! long. So a connection waits for as long as [`Patience::idle`], and from the first byte of a head on for [`Patience::head`]; for the
//! first head it is that long from the beginning.
//!
//! Two observers decide which limit holds: [`Waiting`] sees the bytes, [`Counted`] the requests.

use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the first byte of a head to its last.
    pub(super) head: Duration,
    /// From the end of a response to the first byte of the next head.
    pub(super) idle: Duration,
}

/// Wraps a connection and its service, which share a counter.
pub(super) fn watched<S, A>(
    stream: S,
    answering: A,
    patience: Patience,
) -> (Waiting<S>, Counted<A>) {
    let count = Count::default();
    let waiting = Waiting {
        stream,
        patience,
        count: count.clone(),
        seen: 0,
        is_heard: false,
        is_running: false,
        end: None,
    };
    (waiting, Counted { answering, count })
}

/// The begun and ended responses of a connection: odd during one.
#[derive(Clone, Debug, Default)]
struct Count(Arc<AtomicU64>);

impl Count {
    fn next(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A connection that closes when its next request does not come.
#[derive(Debug)]
pub(super) struct Waiting<S> {
    stream: S,
    patience: Patience,
    count: Count,
    /// The counter when it began to wait for this request.
    seen: u64,
    /// Whether a byte of the head has arrived.
    is_heard: bool,
    /// Whether `end` is set for the current wait.
    is_running: bool,
    /// Allocated once per connection, and reset for each wait.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> Waiting<S> {
    /// Records bytes read.
    fn read(&mut self, bytes: usize) {
        if bytes > 0 && !self.is_heard {
            self.is_heard = true;
            // The limit of the first head runs from the beginning.
            self.is_running &= self.seen == 0;
        }
    }

    /// Ready when the limit has passed.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_running {
            self.is_running = true;
            let span = match self.seen == 0 || self.is_heard {
                true => self.patience.head,
                false => self.patience.idle,
            };
            match &mut self.end {
                Some(end) => end.as_mut().reset(Instant::now() + span),
                None => self.end = Some(Box::pin(sleep(span))),
            }
        }
        match &mut self.end {
            Some(end) => end.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Waiting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let count = self.count.now();
        if count % 2 == 1 {
            return read; // a body has a limit of its own
        }
        if count != self.seen {
            self.seen = count;
            (self.is_heard, self.is_running) = (false, false);
        }
        if read.is_ready() {
            self.read(buffer.filled().len() - before);
            return read;
        }
        ready!(self.poll_end(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Waiting<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
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

/// The service of one connection, which counts its requests.
#[derive(Clone, Debug)]
pub(super) struct Counted<A> {
    answering: A,
    count: Count,
}

impl<A, R, B> Service<Request<R>> for Counted<A>
where
    A: Service<Request<R>, Response = Response<B>>,
    A::Future: Send + 'static,
{
    type Response = Response<Counting<B>>;
    type Error = A::Error;
    type Future = BoxFuture<'static, Result<Self::Response, A::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        self.answering.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        self.count.next();
        let end = End(self.count.clone());
        let answer = self.answering.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Counting { body, _end: end })) })
    }
}

/// Counts when it is dropped: with the last byte of a response, or when it is abandoned.
#[derive(Debug)]
struct End(Count);

impl Drop for End {
    fn drop(&mut self) {
        self.0.next();
    }
}

/// A body that counts when it has been sent.
#[derive(Debug)]
pub(super) struct Counting<B> {
    body: B,
    _end: End,
}

impl<B: Body + Unpin> Body for Counting<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const SOON: Duration = Duration::from_millis(50);
    /// Longer than any test: such a limit never closes a connection.
    const NEVER: Duration = Duration::from_secs(86_400);

    struct Line {
        client: DuplexStream,
        waiting: Waiting<DuplexStream>,
        count: Count,
    }

    fn line(head: Duration, idle: Duration) -> Line {
        let (client, server) = duplex(1024);
        let (waiting, counted) = watched(server, (), Patience { head, idle });
        let count = counted.count;
        Line {
            client,
            waiting,
            count,
        }
    }

    impl Line {
        async fn hear(&mut self) {
            self.client.write_u8(b'G').await.unwrap();
            self.waiting.read_u8().await.unwrap();
        }

        /// Sends a whole request and reads its response.
        async fn exchange(&mut self) {
            self.hear().await;
            self.count.next();
            self.count.next();
        }

        /// Waits until it is closed by a time limit.
        async fn closed(&mut self) {
            let ended = self.waiting.read_u8().await.unwrap_err();
            assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        }

        /// Whether it is still open after another one was closed.
        async fn outlives(&mut self, other: &mut Self) -> bool {
            tokio::select! {
                biased;
                () = other.closed() => true,
                () = self.closed() => false,
            }
        }
    }

    #[tokio::test]
    async fn the_first_head_has_the_time_of_a_head_from_the_beginning_on() {
        line(SOON, NEVER).closed().await;
        let mut begun = line(SOON, NEVER);
        begun.hear().await;
        begun.closed().await;
        assert!(line(NEVER, SOON).outlives(&mut line(SOON, NEVER)).await);
    }

    #[tokio::test]
    async fn between_two_requests_the_time_is_that_of_an_idle_connection() {
        let mut idle = line(NEVER, SOON);
        idle.exchange().await;
        idle.closed().await;
        let mut patient = line(SOON, NEVER);
        patient.exchange().await;
        assert!(patient.outlives(&mut line(SOON, NEVER)).await);
        patient.exchange().await;
    }

    #[tokio::test]
    async fn a_head_that_has_begun_has_the_time_of_a_head_however_it_trickles() {
        let mut line = line(SOON, NEVER);
        line.exchange().await;
        line.hear().await;
        let Line {
            mut client,
            mut waiting,
            ..
        } = line;
        let trickle = async {
            while client.write_u8(b' ').await.is_ok() {
                tokio::time::sleep(SOON / 10).await;
            }
        };
        let closed = async { while waiting.read_u8().await.is_ok() {} };
        tokio::select! {
            () = closed => {}
            () = trickle => panic!("its client was not there any more"),
        }
    }

    #[tokio::test]
    async fn while_a_request_is_answered_nothing_is_waited_for() {
        let mut busy = line(SOON, SOON);
        busy.hear().await;
        busy.count.next();
        assert!(busy.outlives(&mut line(SOON, SOON)).await);
        assert!(busy.outlives(&mut line(SOON, SOON)).await);
        busy.count.next();
        busy.closed().await;
    }
}
