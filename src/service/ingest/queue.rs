//! The write queue: permits for messages, and the shard of each guest.
//!
//! **Invariant:** what is taken back is never stored: an operation is either begun by the pipeline or taken back by the caller.

use super::super::Service;
use super::operation::{ChatRequest, Operation, PendingBatch};
use super::{GroupOutcome, busy, unanswered};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{GuestId, OwnerId};
use guestbook_storage::database::Group;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Shards for concurrent batches: enough that two guests rarely share one.
const SHARDS: u64 = 1024;

/// Keeps the messages of a guest in order: operations of one shard run one after another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Shard(u64);

/// The sending end of the write queue.
#[derive(Debug)]
pub(crate) struct Ingest {
    /// `None` once the service stops: nothing is accepted then. The channel is unbounded; `permits` bounds it.
    queue: Mutex<Option<mpsc::UnboundedSender<Arrival>>>,
    /// One permit per queued message, so that the bound is by messages, not requests.
    permits: Arc<Semaphore>,
    capacity: u32,
    shards: u64,
}

/// The receiving end of the write queue.
pub(crate) struct Queue(pub(super) mpsc::UnboundedReceiver<Arrival>);

#[derive(Debug)]
pub(super) enum Arrival {
    Operation(QueuedOperation),
    /// Replied to when everything that arrived before is done.
    Barrier(oneshot::Sender<()>),
}

/// A queued operation, and the permits it holds until it runs.
#[derive(Debug)]
pub(super) struct QueuedOperation {
    pub(super) shard: Shard,
    operation: Operation,
    permits: Option<OwnedSemaphorePermit>,
    claim: Arc<Claim>,
}

/// Whether an operation was begun or taken back: the first caller decides.
#[derive(Debug, Default)]
struct Claim(AtomicBool);

impl Claim {
    /// Whether this caller was the first.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl QueuedOperation {
    /// Whether the operation may run; it cannot be taken back then.
    pub(super) fn begin(&self) -> bool {
        self.claim.take()
    }

    /// The operation; its permits are released.
    pub(super) fn into_operation(self) -> Operation {
        drop(self.permits);
        self.operation
    }

    pub(super) fn operation(&self) -> &Operation {
        &self.operation
    }
}

impl Ingest {
    /// A queue for `capacity` messages, before a database that commits `writers` batches concurrently.
    pub(crate) fn new(capacity: usize, writers: usize) -> (Self, Queue) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let capacity = u32::try_from(capacity.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let ingest = Self {
            queue: Mutex::new(Some(sender)),
            permits: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
            shards: if writers > 1 { SHARDS } else { 1 },
        };
        (ingest, Queue(receiver))
    }

    /// Rejects new operations; queued ones still run.
    pub(crate) fn close(&self) {
        drop(
            self.queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    fn sender(&self) -> Result<mpsc::UnboundedSender<Arrival>> {
        let sender = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        sender.ok_or_else(stopping)
    }

    fn shard(&self, guest: &GuestId) -> Shard {
        let mut hasher = DefaultHasher::new();
        guest.hash(&mut hasher);
        Shard(hasher.finish() % self.shards)
    }
}

impl Service {
    /// Queues each group in its guest's shard.
    pub(super) async fn queue_groups(&self, groups: Vec<Group>) -> Result<Vec<ShardReplies>> {
        let messages = groups.iter().map(|group| group.0.len()).sum();
        let mut admission = self.admit(messages).await?;
        let mut shards: BTreeMap<Shard, (Vec<usize>, Vec<Group>)> = BTreeMap::new();
        for (position, group) in groups.into_iter().enumerate() {
            let guest = group.0.first().map(|entry| &entry.message.guest);
            let shard = guest.map_or(Shard(0), |guest| self.0.ingest.shard(guest));
            let (positions, groups) = shards.entry(shard).or_default();
            positions.push(position);
            groups.push(group);
        }
        let queue = |(shard, (positions, groups))| {
            let (reply, outcome) = oneshot::channel();
            let batch = PendingBatch::new(groups, reply);
            let claim = admission.send(shard, Operation::Store(batch))?;
            let progress = Progress::Open { claim, outcome };
            Ok(ShardReplies {
                positions,
                progress,
            })
        };
        shards.into_iter().map(queue).collect()
    }

    /// Queues a change of a guest's chat, in order with the guest's messages.
    pub(crate) async fn change<R>(
        &self,
        guest: GuestId,
        operation: impl FnOnce(ChatRequest<R>) -> Operation,
    ) -> Result<R> {
        let (reply, outcome) = oneshot::channel();
        let shard = self.0.ingest.shard(&guest);
        let mut admission = self.admit(1).await?;
        admission.send(shard, operation(ChatRequest { guest, reply }))?;
        drop(admission); // a clone of the sender kept while waiting would keep the pipeline from ending
        outcome.await.map_err(|_| unanswered())?
    }

    /// Returns once everything accepted before is committed and applied to the lists; at once when the queue is closed.
    pub(crate) async fn barrier(&self) {
        let Ok(sender) = self.0.ingest.sender() else {
            return;
        };
        let (reply, passed) = oneshot::channel();
        if sender.send(Arrival::Barrier(reply)).is_ok() {
            drop(sender); // as above
            let _ = passed.await; // an error means that the pipeline has ended: nothing is in flight any more
        }
    }

    /// Waits for permits, at most the admission time.
    async fn admit(&self, messages: usize) -> Result<Admission> {
        let ingest = &self.0.ingest;
        let wanted = u32::try_from(messages)
            .unwrap_or(u32::MAX)
            .clamp(1, ingest.capacity);
        let waiting = Arc::clone(&ingest.permits).acquire_many_owned(wanted);
        let admitted = tokio::time::timeout(self.0.settings.admission, waiting).await;
        let full = |_| {
            busy(
                ErrorKind::Busy,
                "too many requests are waiting; try again shortly",
            )
        };
        let permits = admitted.map_err(full)?.map_err(|_| stopping())?;
        Ok(Admission {
            // Cloned only now, so that waiting for a permit does not keep the pipeline from ending.
            sender: ingest.sender()?,
            permits,
        })
    }
}

/// Acquired permits of the queue.
struct Admission {
    sender: mpsc::UnboundedSender<Arrival>,
    permits: OwnedSemaphorePermit,
}

impl Admission {
    /// Queues an operation with its share of the permits; the returned claim can take it back.
    fn send(&mut self, shard: Shard, operation: Operation) -> Result<Arc<Claim>> {
        let claim = Arc::<Claim>::default();
        let wanted = operation.messages().min(self.permits.num_permits());
        let queued = QueuedOperation {
            shard,
            operation,
            permits: self.permits.split(wanted),
            claim: Arc::clone(&claim),
        };
        let arrival = Arrival::Operation(queued);
        self.sender.send(arrival).map_err(|_| stopping())?;
        Ok(claim)
    }
}

/// Queued messages, and the channels of their outcomes.
#[derive(Debug)]
pub struct PendingGroups {
    pub(super) service: Service,
    pub(super) owners: Vec<OwnerId>,
    pub(super) began: Instant,
    pub(super) shards: Vec<ShardReplies>,
}

/// The outcome of a group of messages, as far as it is known.
#[derive(Clone, Debug)]
pub enum Fate {
    /// The pipeline's outcome.
    Answered(GroupOutcome),
    /// Nothing of it is stored, nor will be: it was taken back in time.
    NotBegun,
    /// It was begun, and its outcome is unknown.
    Unknown,
}

/// The groups of a request in one shard, and the channel of their outcomes.
#[derive(Debug)]
pub(super) struct ShardReplies {
    /// Indexes among all groups of the request.
    positions: Vec<usize>,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Open {
        claim: Arc<Claim>,
        outcome: oneshot::Receiver<Vec<GroupOutcome>>,
    },
    Answered(Vec<GroupOutcome>),
    NotBegun,
    Unknown,
}

impl PendingGroups {
    /// One outcome per group, in order.
    ///
    /// # Errors
    /// `Unavailable` when the service stopped before it could respond.
    pub async fn answer(mut self) -> Result<Vec<GroupOutcome>> {
        self.wait().await;
        let answered = self.fates().into_iter().map(|fate| match fate {
            Fate::Answered(outcome) => Ok(outcome),
            Fate::NotBegun | Fate::Unknown => Err(unanswered()),
        });
        answered.collect()
    }

    /// Returns once all outcomes are known. Cancel-safe.
    pub async fn wait(&mut self) {
        for shard in &mut self.shards {
            if let Progress::Open { claim, outcome } = &mut shard.progress {
                shard.progress = match (outcome.await, claim) {
                    (Ok(outcomes), _) => Progress::Answered(outcomes),
                    (Err(_), claim) if claim.take() => Progress::NotBegun,
                    (Err(_), _) => Progress::Unknown,
                };
            }
        }
    }

    /// Takes back every operation that has not begun.
    pub fn take_back(&mut self) {
        for shard in &mut self.shards {
            if matches!(&shard.progress, Progress::Open { claim, .. } if claim.take()) {
                shard.progress = Progress::NotBegun;
            }
        }
    }

    /// The fate of each group by now, in order. Waiting operations are taken back first.
    pub fn fates(mut self) -> Vec<Fate> {
        self.take_back();
        let mut fates = Vec::new();
        let mut is_saved = false;
        for shard in self.shards {
            let positions = shard.positions.into_iter();
            let outcomes = match shard.progress {
                Progress::Answered(outcomes) => Ok(outcomes),
                Progress::Open { mut outcome, .. } => outcome.try_recv().map_err(|_| Fate::Unknown),
                Progress::NotBegun => Err(Fate::NotBegun),
                Progress::Unknown => Err(Fate::Unknown),
            };
            match outcomes {
                Ok(outcomes) => {
                    is_saved |= outcomes
                        .iter()
                        .any(|it| matches!(it, GroupOutcome::Saved(_)));
                    let outcomes = outcomes.into_iter().map(Fate::Answered);
                    fates.extend(positions.zip(outcomes));
                }
                Err(fate) => fates.extend(positions.map(|at| (at, fate.clone()))),
            }
        }
        if is_saved {
            let took = self.began.elapsed();
            self.service.0.metrics.write(self.owners, took);
        }
        fates.sort_unstable_by_key(|(position, _)| *position);
        fates.into_iter().map(|(_, fate)| fate).collect()
    }
}

fn stopping() -> Error {
    busy(ErrorKind::Unavailable, "the service is stopping")
}
