//! Handles bodies that are still unread when the response is ready: of a request without the key, to an unknown path, or too large.
//!
//! A connection can be reused only behind the body. Closing it in the middle resets it, and the client may lose the response; and
//! a client that does not learn of the close sends its next request into it. So a short rest is read before the response, and
//! the connection is reused. With a long rest the response says `Connection: close`, and the rest is drained for a while.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Bytes read before the response at most; also for a body of unknown length.
const SHORT: u64 = 64 << 10;
/// Time limit of that.
const MOMENT: Duration = Duration::from_millis(250);
/// How long a longer rest is drained after the response.
const A_WHILE: Duration = Duration::from_secs(2);
/// Connections drained at once.
const AT_ONCE: usize = 64;

/// Drains the rests of bodies. All clones are one.
#[derive(Clone, Debug)]
pub(super) struct Drain(Arc<Semaphore>);

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// Receives a body that was not read to its end.
#[derive(Debug, Default)]
pub(super) struct UnreadBody(Arc<Mutex<Option<Body>>>);

impl UnreadBody {
    /// Lends the body of a request: its rest comes back when it is dropped.
    pub(super) fn of(request: Request) -> (Request, Option<Self>) {
        if request.body().is_end_stream() {
            return (request, None);
        }
        let rest = Self::default();
        let back = Arc::clone(&rest.0);
        let lend = |body| Body::new(LentBody { body, back });
        (request.map(lend), Some(rest))
    }

    fn take(&self) -> Option<Body> {
        let mut rest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rest.take()
    }
}

impl Drain {
    /// The response to a request, with the headers that its connection needs.
    pub(super) async fn response(
        &self,
        rest: Option<UnreadBody>,
        mut response: Response,
    ) -> Response {
        let Some(mut body) = rest.and_then(|rest| rest.take()) else {
            return response;
        };
        if is_short(&body) && read(&mut body, MOMENT, SHORT).await {
            return response;
        }
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        if let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() {
            tokio::spawn(async move {
                read(&mut body, A_WHILE, u64::MAX).await;
                drop(permit);
            });
        }
        response
    }
}

fn is_short(body: &Body) -> bool {
    let left = body.size_hint();
    left.upper().unwrap_or(left.lower()) <= SHORT
}

/// Reads and discards the rest of a body; returns whether that was all.
async fn read(body: &mut Body, within: Duration, most: u64) -> bool {
    let reading = async {
        let mut read = 0;
        while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            let Ok(frame) = frame else {
                return false;
            };
            read += frame.data_ref().map_or(0, |part| part.len() as u64);
            if read > most {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(within, reading).await.unwrap_or(false)
}

/// A body whose rest comes back when it is dropped.
struct LentBody {
    body: Body,
    back: Arc<Mutex<Option<Body>>>,
}

impl HttpBody for LentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LentBody {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
            *back = Some(std::mem::take(&mut self.body));
        }
    }
}
