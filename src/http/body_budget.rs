//! The memory that request bodies may take together.
//!
//! One body is bounded by its own limit, a thousand of them are not. So every byte that has arrived is taken from one budget and
//! given back when its request has been answered; what a head claims takes nothing. When there is no room, whoever
//! holds most is refused first, if that is more than the one who asks would hold. So slow and greedy clients refuse each other,
//! and starving small requests takes about budget ÷ size connections.
//!
//! **Invariant:** all bodies that are being read or worked on hold at most the budget.

mod arriving;

use super::Problem;
use super::memory_budget::{Holder, MemoryBudget, Registration};
use arriving::Arriving;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::http::StatusCode;
use futures_util::StreamExt;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

/// How long a body waits for room. Those who are cut off give theirs back within microseconds.
const ADMISSION: Duration = Duration::from_millis(500);
/// What a connection holds besides its body while that one is on its way: what was read and not taken yet.
const BUFFERS: usize = 16 << 10;

/// The budget of all bodies.
#[derive(Debug)]
pub(super) struct BodyBudget(MemoryBudget<Unfinished>);

/// A body that has begun to arrive: the bytes it holds, and what refuses it by being dropped.
#[derive(Debug)]
struct Unfinished {
    bytes: usize,
    _refuse: oneshot::Sender<()>,
}

impl Holder for Unfinished {
    const AGES: bool = false;

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn cost(&self) -> usize {
        self.bytes
    }
}

/// A whole body, and its part of the budget until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    /// Given back when this is dropped.
    room: OwnedSemaphorePermit,
}

impl BodyBudget {
    /// A budget of so many bytes, enough for a body of the largest size.
    pub(super) fn new(bytes: usize, largest: usize) -> Self {
        let bytes = bytes.max(largest.saturating_add(BUFFERS));
        Self(MemoryBudget::new(bytes))
    }

    /// Reads a body of at most `limit` bytes to its end.
    pub(super) async fn read(&self, body: Body, limit: usize) -> Result<Held, Problem> {
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large(limit)); // said by the head: nothing of it is read
        }
        let said = body.size_hint().upper().map(usize::try_from); // by the head; nothing of chunks
        let most = said.and_then(Result::ok).unwrap_or(limit).min(limit);
        let mut stream = body.into_data_stream();
        let Some(first) = next(&mut stream).await? else {
            return self.hold(Bytes::new()).await;
        };
        if first.len() > limit {
            return Err(too_large(limit));
        }
        let held = self.hold(first).await?;
        if stream.is_end_stream() {
            return Ok(held); // nearly every message: no copy, nothing noted
        }
        let (_refuse, refused) = oneshot::channel();
        let bytes = held.bytes.len();
        let arrived = self.0.register(Unfinished { bytes, _refuse });
        tokio::select! {
            biased;
            _ = refused => Err(crowded()),
            read = self.rest(held, stream, most, &arrived) => read,
        }
    }

    async fn hold(&self, bytes: Bytes) -> Result<Held, Problem> {
        let room = self.take(bytes.len(), 0).await?;
        Ok(Held { bytes, room })
    }

    /// The rest of a body that did not come at once, at most `most` bytes in all. It is copied, so that no larger buffer is kept
    /// for a few bytes of it.
    async fn rest(
        &self,
        begun: Held,
        mut stream: BodyDataStream,
        most: usize,
        arrived: &Registration<Unfinished>,
    ) -> Result<Held, Problem> {
        let Held { bytes, room } = begun;
        drop(room);
        let mut room = self.take(BUFFERS, 0).await?;
        let (mut arriving, mut part) = (Arriving::new(most), bytes);
        loop {
            while !arriving.take(&mut part) {
                let more = arriving.next_size().ok_or_else(|| too_large(most))?;
                let held = BUFFERS + arriving.capacity();
                room.merge(self.take(more, held).await?);
                arriving.grow(more).map_err(|_| crowded())?;
                arrived.with(|it| it.bytes = held + more);
            }
            match next(&mut stream).await? {
                Some(more) => part = more,
                None => break,
            }
        }
        let bytes = arriving.whole();
        Ok(Held { bytes, room })
    }

    /// Room for `more` bytes of a body that holds `has`.
    async fn take(&self, more: usize, has: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let until = Instant::now() + ADMISSION;
        let room = self.0.take(more, has + more, until).await;
        room.ok_or_else(crowded)
    }
}

async fn next(stream: &mut BodyDataStream) -> Result<Option<Bytes>, Problem> {
    let unread = |_| Problem::malformed("the body could not be read to its end");
    stream.next().await.transpose().map_err(unread)
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is larger than {limit} bytes; send less at a time");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn crowded() -> Problem {
    Problem::turned_away(
        "too many bytes of requests are on their way at once; nothing was stored, try again shortly",
    )
}
