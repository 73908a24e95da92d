//! The memory that answers on their way may take together.
//!
//! One answer is bounded by what a page may hold, a thousand that nobody takes are not. So an answer above [`SMALL`] bytes takes its
//! size from one budget and gives it back when its last part is sent, or its client has gone. Where there is no room it waits;
//! meanwhile answers that are taken slower than [`RATE`] are cut off, the slowest first: a client that reads what it asked for does
//! not wait for one that does not.
//!
//! **Invariant:** all such answers hold at most the budget, or there is only one.

use super::Problem;
use crate::service::Turn;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What an answer may have that is not counted: about what a connection takes anyway.
const SMALL: usize = 64 << 10;
/// What is handed to a connection at a time: so much it has after its answer was cut off.
const PART: usize = 64 << 10;
/// Bytes a second that a client must take while others wait, after [`GRACE`]; it may never take none for as long as that.
const RATE: f64 = 1_048_576.0;
const GRACE: Duration = Duration::from_secs(1);
/// How often one that waits looks for slow ones.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// An answer, and the turn in which it was made. Of a large one it ends only when there is room for it.
pub(super) fn made(answer: impl IntoResponse, turn: Turn) -> Response {
    let mut response = answer.into_response();
    if response.body().size_hint().lower() > SMALL as u64 {
        response.extensions_mut().insert(turn);
    }
    response
}

/// The budget of all answers. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Answers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A permit for each byte.
    room: Arc<Semaphore>,
    bytes: usize,
    /// How long an answer waits for room.
    patience: Duration,
    unsent: Mutex<Unsent>,
}

#[derive(Debug, Default)]
struct Unsent {
    by_number: HashMap<u64, Answer>,
    next: u64,
}

/// An answer on its way.
#[derive(Debug)]
struct Answer {
    bytes: Bytes,
    /// Bytes of it that its connection was given.
    sent: usize,
    since: Instant,
    /// When it was given the last of them.
    moved: Instant,
    /// Given back when this is dropped.
    _room: OwnedSemaphorePermit,
}

impl Answers {
    /// A budget of so many bytes; an answer waits for `patience` at most.
    pub(super) fn new(bytes: usize, patience: Duration) -> Self {
        let bytes = bytes.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            room: Arc::new(Semaphore::new(bytes)),
            bytes,
            patience,
            unsent: Mutex::default(),
        }))
    }

    /// The same answer, within the budget, or a refusal where there was no room in time. Other large answers are not made while
    /// this one waits: it keeps its [`Turn`].
    pub(super) async fn admit(&self, mut response: Response) -> Response {
        let size = response.body().size_hint().exact();
        if size.is_none_or(|size| size <= SMALL as u64) {
            return response;
        }
        let turn: Option<Turn> = response.extensions_mut().remove();
        let (mut parts, body) = response.into_parts();
        let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
            return Problem::unanswered().into_response(); // its size is known, so it is all there
        };
        let Some(room) = self.take(bytes.len()).await else {
            return crowded().into_response();
        };
        drop(turn);
        let length = HeaderValue::from(bytes.len());
        parts.headers.insert(header::CONTENT_LENGTH, length);
        let place = self.send(bytes, room);
        let next = |mut place: Place| async move { place.next().map(|part| (part, place)) };
        Response::from_parts(parts, Body::from_stream(unfold(place, next)))
    }

    /// Room for so many bytes; all there is for an answer that is larger.
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes.min(self.0.bytes)).ok()?;
        if let Ok(room) = Arc::clone(&self.0.room).try_acquire_many_owned(wanted) {
            return Some(room);
        }
        let waiting = Arc::clone(&self.0.room).acquire_many_owned(wanted);
        let cutting = async {
            loop {
                self.0.unsent().cut_slow(wanted as usize, &self.0.room);
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::select! {
            room = waiting => room.ok(),
            () = cutting => None,
            () = tokio::time::sleep(self.0.patience) => None,
        }
    }

    fn send(&self, bytes: Bytes, room: OwnedSemaphorePermit) -> Place {
        let mut unsent = self.0.unsent();
        let number = unsent.next;
        unsent.next += 1;
        let answer = Answer {
            bytes,
            sent: 0,
            since: Instant::now(),
            moved: Instant::now(),
            _room: room,
        };
        unsent.by_number.insert(number, answer);
        Place {
            shared: Arc::clone(&self.0),
            number,
            is_over: false,
        }
    }
}

impl Shared {
    fn unsent(&self) -> MutexGuard<'_, Unsent> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unsent {
    /// Cuts off answers that are taken too slowly, the slowest first, until so many bytes are free.
    fn cut_slow(&mut self, wanted: usize, room: &Semaphore) {
        let mut late: Vec<_> = self
            .by_number
            .iter()
            .map(|(number, answer)| (answer.lag(), *number))
            .collect();
        late.retain(|(lag, _)| *lag > 0.0);
        late.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (_, number) in late {
            if room.available_permits() >= wanted {
                return;
            }
            self.by_number.remove(&number);
        }
    }
}

impl Answer {
    /// By how many bytes its client is behind. What was sent may still be in the buffers of the system, which hold megabytes: so
    /// one that has stopped is as late as if it had taken nothing since then.
    fn lag(&self) -> f64 {
        let due = |time: Duration| time.as_secs_f64() * RATE;
        let on_the_whole = due(self.since.elapsed().saturating_sub(GRACE)) - self.sent as f64;
        on_the_whole.max(due(self.moved.elapsed().saturating_sub(GRACE)))
    }
}

/// Where an answer waits to be sent, until it is or its connection ends.
struct Place {
    shared: Arc<Shared>,
    number: u64,
    is_over: bool,
}

impl Place {
    /// Copied, so that what was cut off is given back although its connection holds the last part.
    fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.is_over {
            return None;
        }
        let mut unsent = self.shared.unsent();
        let Some(answer) = unsent.by_number.get_mut(&self.number) else {
            self.is_over = true;
            return Some(Err(io::Error::other("the answer was cut off")));
        };
        let rest = &answer.bytes[answer.sent..];
        let part = Bytes::copy_from_slice(&rest[..rest.len().min(PART)]);
        answer.sent += part.len();
        answer.moved = Instant::now();
        if answer.sent == answer.bytes.len() {
            unsent.by_number.remove(&self.number);
            self.is_over = true;
        }
        Some(Ok(part))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.unsent().by_number.remove(&self.number);
    }
}

fn crowded() -> Problem {
    let detail = "too many long answers are on their way at once; ask again shortly, or for less at a time with `limit`";
    Problem::turned_away(detail)
}
