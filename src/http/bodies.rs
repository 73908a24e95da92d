//! The memory that request bodies may take together.
//!
//! One body is bounded by its own limit, a thousand of them are not. So every byte that has arrived is taken from one budget and
//! given back when its request has been answered; what a head claims takes nothing. When there is no room, whoever
//! holds most is refused first, if that is more than the one who asks would hold. So slow and greedy clients refuse each other,
//! and keeping small messages out takes as many connections as small messages fit into the budget.
//!
//! **Invariant:** all bodies that are being read or worked on hold at most the budget.

mod arriving;

use super::Problem;
use arriving::Arriving;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::http::StatusCode;
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How long a body waits for room. Those who are cut off give theirs back within microseconds.
const ADMISSION: Duration = Duration::from_millis(500);
/// What a connection holds besides its body while that one is on its way: what was read and not taken yet.
const BUFFERS: usize = 16 << 10;

/// The budget of all bodies. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Bodies(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A permit for each byte.
    room: Arc<Semaphore>,
    unfinished: Mutex<Unfinished>,
}

/// Bodies that have begun to arrive, by the bytes they hold, and how to refuse each.
#[derive(Debug, Default)]
struct Unfinished {
    by_size: BTreeMap<(usize, u64), oneshot::Sender<()>>,
    next: u64,
}

/// A whole body, and its part of the budget until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    /// Given back when this is dropped.
    room: OwnedSemaphorePermit,
}

impl Bodies {
    /// A budget of so many bytes, enough for a body of the largest size.
    pub(super) fn new(bytes: usize, largest: usize) -> Self {
        let bytes = bytes.max(largest.saturating_add(BUFFERS));
        Self(Arc::new(Shared {
            room: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))),
            unfinished: Mutex::default(),
        }))
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
        let (mut place, refused) = self.note(held.bytes.len());
        tokio::select! {
            biased;
            _ = refused => Err(crowded()),
            read = self.rest(held, stream, most, &mut place) => read,
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
        place: &mut Place,
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
                place.grow(held + more);
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
        let wanted = u32::try_from(more).map_err(|_| crowded())?;
        if let Ok(room) = Arc::clone(&self.0.room).try_acquire_many_owned(wanted) {
            return Ok(room);
        }
        if !self.refuse_larger(more, has + more) {
            return Err(crowded());
        }
        let waiting = Arc::clone(&self.0.room).acquire_many_owned(wanted);
        match tokio::time::timeout(ADMISSION, waiting).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(crowded()),
        }
    }

    /// Refuses those that hold most until `wanted` bytes are given back; whether there are so many held by those who hold more
    /// than `than`.
    fn refuse_larger(&self, wanted: usize, than: usize) -> bool {
        let mut unfinished = self.0.unfinished();
        let mut given_back = self.0.room.available_permits();
        while given_back < wanted {
            let Some(most) = unfinished.by_size.last_entry() else {
                return false;
            };
            let (size, _) = *most.key();
            if size <= than {
                return false;
            }
            given_back += size;
            let _ = most.remove().send(()); // it has ended by itself just now
        }
        true
    }

    /// Notes a body that may take long; the receiver hears when it is refused for the sake of others.
    fn note(&self, size: usize) -> (Place, oneshot::Receiver<()>) {
        let (refuse, refused) = oneshot::channel();
        let mut unfinished = self.0.unfinished();
        let key = (size, unfinished.next);
        unfinished.next += 1;
        unfinished.by_size.insert(key, refuse);
        let place = Place {
            shared: Arc::clone(&self.0),
            key,
        };
        (place, refused)
    }
}

impl Shared {
    fn unfinished(&self) -> MutexGuard<'_, Unfinished> {
        self.unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an unfinished body is noted, until it is dropped.
struct Place {
    shared: Arc<Shared>,
    key: (usize, u64),
}

impl Place {
    fn grow(&mut self, size: usize) {
        let mut unfinished = self.shared.unfinished();
        if let Some(refuse) = unfinished.by_size.remove(&self.key) {
            self.key.0 = size;
            unfinished.by_size.insert(self.key, refuse);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.unfinished().by_size.remove(&self.key);
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
