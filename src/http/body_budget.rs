//! The memory budget of request bodies.
//!
//! One body is bounded by its own limit, a thousand are not. So every received byte is taken from one budget and returned when its
//! request has been answered; a declared length takes nothing. When the budget is exhausted, the largest body is rejected first, if
//! it is larger than the waiting one would be. So slow and greedy clients evict each other, and starving small requests takes about
//! budget ÷ size connections.
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

/// How long a body waits for memory. Evicted ones return theirs within microseconds.
const ADMISSION: Duration = Duration::from_millis(500);
/// Memory of a connection besides its body while that arrives: bytes read and not taken yet.
const BUFFERS: usize = 16 << 10;

/// The budget of all bodies.
#[derive(Debug)]
pub(super) struct BodyBudget(MemoryBudget<Unfinished>);

/// An arriving body: its bytes, and the sender whose drop evicts it.
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

/// A complete body, and its permit of the budget until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    /// Returned when this is dropped.
    room: OwnedSemaphorePermit,
}

impl BodyBudget {
    /// A budget of this many bytes, enough for a body of the largest size.
    pub(super) fn new(bytes: usize, largest: usize) -> Self {
        let bytes = bytes.max(largest.saturating_add(BUFFERS));
        Self(MemoryBudget::new(bytes))
    }

    /// Reads a body of at most `limit` bytes to its end.
    pub(super) async fn read(&self, body: Body, limit: usize) -> Result<Held, Problem> {
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large(limit)); // by its Content-Length: nothing of it is read
        }
        let declared = body.size_hint().upper().map(usize::try_from); // unknown for chunks
        let most = declared.and_then(Result::ok).unwrap_or(limit).min(limit);
        let mut stream = body.into_data_stream();
        let Some(first) = next(&mut stream).await? else {
            return self.hold(Bytes::new()).await;
        };
        if first.len() > limit {
            return Err(too_large(limit));
        }
        let held = self.hold(first).await?;
        if stream.is_end_stream() {
            return Ok(held); // nearly every message: no copy, no registration
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

    /// Reads the rest of a body, at most `most` bytes in all. It is copied, so that a few bytes do not keep a larger buffer alive.
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

    /// Takes memory for `more` bytes of a body that has `has` already.
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
