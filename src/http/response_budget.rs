//! The memory budget of responses in flight.
//!
//! One response is bounded by the largest page, a thousand that nobody reads are not. So a response above [`SMALL`] bytes takes its
//! size from one budget, and a streamed one the size of a step; it is returned when the last part is sent, or the client has
//! disconnected. When the budget is exhausted, a response waits; meanwhile responses read slower than [`RATE`] are cut off, the
//! slowest first: a client that reads does not wait for one that does not.
//!
//! **Invariant:** all such responses hold at most the budget, or there is only one.

use super::Problem;
use super::deadline::Deadline;
use super::memory_budget::{Holder, MemoryBudget, Registration};
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::OptionFuture;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use std::io;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// Bytes of a response that are not counted: about what a connection takes anyway.
const SMALL: usize = 64 << 10;
/// Bytes handed to a connection at a time, which it keeps after its response was cut off.
const PIECE: usize = 64 << 10;
/// Bytes a second that a client must take while others wait, after [`GRACE`]; it may never stall for that long.
const RATE: f64 = 1_048_576.0;
const GRACE: Duration = Duration::from_secs(1);

/// The budget of all responses.
#[derive(Debug)]
pub(super) struct ResponseBudget(MemoryBudget<Outgoing>);

/// A response in flight: its part in memory.
#[derive(Debug)]
struct Outgoing {
    part: Bytes,
    /// Bytes handed to its connection.
    sent: usize,
    /// How long the connection took for them.
    took: Duration,
    /// Since when it could take more; `None` while the next part is being read.
    since: Option<Instant>,
    room: OwnedSemaphorePermit,
}

impl Holder for Outgoing {
    const AGES: bool = true;

    fn bytes(&self) -> usize {
        self.room.num_permits()
    }

    /// Bytes that its client is behind. Sent bytes may still be in the system's buffers, which hold megabytes: so a client that
    /// has stopped is as late as if it had taken nothing since then.
    fn cost(&self) -> usize {
        let stopped = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        let due = |time: Duration| time.saturating_sub(GRACE).as_secs_f64() * RATE;
        let on_the_whole = due(self.took + stopped) - self.sent as f64;
        on_the_whole.max(due(stopped)) as usize
    }
}

impl Outgoing {
    fn begin(&mut self, part: Bytes) {
        (self.part, self.since) = (part, Some(Instant::now()));
    }

    /// The next piece of the part, and whether it is the last; none at its end. Copied, so that the memory of a cut off response is
    /// freed although its connection still has the last piece.
    fn piece(&mut self) -> (Option<Bytes>, bool) {
        let now = Instant::now();
        self.took += self.since.map_or(Duration::ZERO, |since| now - since);
        if self.part.is_empty() {
            self.since = None;
            return (None, true);
        }
        let piece = self.part.split_to(self.part.len().min(PIECE));
        self.sent += piece.len();
        self.since = Some(now);
        (Some(Bytes::copy_from_slice(&piece)), self.part.is_empty())
    }
}

/// Parts that are read while the response is sent.
type Parts = BoxStream<'static, io::Result<Bytes>>;

/// Memory for a response.
#[derive(Debug)]
pub(super) struct Room(OwnedSemaphorePermit);

impl ResponseBudget {
    /// A budget of this many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self(MemoryBudget::new(bytes))
    }

    /// Takes this many bytes, or the whole budget for more than that.
    pub(super) async fn take(&self, bytes: usize, deadline: Deadline) -> Result<Room, Problem> {
        let room = self.0.take(bytes, 0, deadline.at()).await;
        room.map(Room).ok_or_else(crowded)
    }

    /// The same response, within the budget, or a refusal if there was no memory in time.
    pub(super) async fn admit(
        &self,
        response: Response,
        deadline: impl FnOnce() -> Deadline,
    ) -> Response {
        let size = response.body().size_hint().exact();
        if size.is_none_or(|size| size <= SMALL as u64) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
            return Problem::unanswered().into_response(); // of known size, so it is in memory
        };
        let room = match self.take(bytes.len(), deadline()).await {
            Ok(room) => room,
            Err(problem) => return problem.into_response(),
        };
        let length = HeaderValue::from(bytes.len());
        parts.headers.insert(header::CONTENT_LENGTH, length);
        Response::from_parts(parts, self.body(room, bytes, None))
    }

    /// A body of parts, one at a time in memory. It is cut off, visibly to its client, when it is evicted or a part fails.
    pub(super) fn stream(
        &self,
        room: Room,
        first: Bytes,
        rest: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Body {
        self.body(room, first, Some(rest.boxed()))
    }

    fn body(&self, Room(room): Room, first: Bytes, rest: Option<Parts>) -> Body {
        let mut outgoing = Outgoing {
            part: Bytes::new(),
            sent: 0,
            took: Duration::ZERO,
            since: None,
            room,
        };
        outgoing.begin(first);
        let sending = Sending {
            place: Some(self.0.register(outgoing)),
            rest,
        };
        Body::from_stream(stream::try_unfold(sending, Sending::next))
    }
}

struct Sending {
    /// `None` when all has been handed over.
    place: Option<Registration<Outgoing>>,
    /// The remaining parts, if any.
    rest: Option<Parts>,
}

impl Sending {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let cut = || io::Error::other("the response was cut off");
        loop {
            let Some(place) = &self.place else {
                return Ok(None);
            };
            let (piece, is_last) = place.with(Outgoing::piece).ok_or_else(cut)?;
            if let Some(piece) = piece {
                if is_last && self.rest.is_none() {
                    self.place = None;
                }
                return Ok(Some((piece, self)));
            }
            let next = self.rest.as_mut().map(StreamExt::next);
            let Some(part) = OptionFuture::from(next).await.flatten() else {
                return Ok(None);
            };
            let part = part?;
            place.with(|it| it.begin(part)).ok_or_else(cut)?;
        }
    }
}

fn crowded() -> Problem {
    let detail = "too many long responses are on their way at once; ask again shortly, or for less at a time with `limit`";
    Problem::turned_away(detail)
}
