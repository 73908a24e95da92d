//! The entrance to the pipeline: permits for messages, and the shard of each guest.
//!
//! **Invariant:** what is taken back is never stored: an operation is begun by the pipeline or taken back by whoever asked, not both.

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

/// Shards where batches are stored side by side: so many that two guests rarely share one.
const SHARDS: u64 = 1024;

/// Keeps the messages of a guest in order: operations of one shard are done one after another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Shard(u64);

/// The entrance to the pipeline.
#[derive(Debug)]
pub(crate) struct Ingest {
    /// Taken when the service stops, after which nothing is accepted. The channel itself has no bound: `permits` is it.
    queue: Mutex<Option<mpsc::UnboundedSender<Arrival>>>,
    /// One for each message that may wait: a request with many takes many, so that memory is bounded by messages.
    permits: Arc<Semaphore>,
    capacity: u32,
    shards: u64,
}

/// The other end of the entrance.
pub(crate) struct Queue(pub(super) mpsc::UnboundedReceiver<Arrival>);

#[derive(Debug)]
pub(super) enum Arrival {
    Operation(QueuedOperation),
    /// Replied to when everything that arrived before is done.
    Barrier(oneshot::Sender<()>),
}

/// An operation in the queue, and the permits it holds until it is carried out.
#[derive(Debug)]
pub(super) struct QueuedOperation {
    pub(super) shard: Shard,
    operation: Operation,
    permits: Option<OwnedSemaphorePermit>,
    claim: Arc<Claim>,
}

/// Whether an operation has been begun or taken back: whoever is first decides.
#[derive(Debug, Default)]
struct Claim(AtomicBool);

impl Claim {
    /// Whether it is ours.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl QueuedOperation {
    /// Whether it may be carried out; it cannot be taken back any more then.
    pub(super) fn begin(&self) -> bool {
        self.claim.take()
    }

    /// The operation, its permits free for others.
    pub(super) fn into_operation(self) -> Operation {
        drop(self.permits);
        self.operation
    }

    pub(super) fn operation(&self) -> &Operation {
        &self.operation
    }
}

impl Ingest {
    /// Room for `capacity` messages, on the way to a database that stores `writers` batches at once.
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

    /// Accepts nothing more; what is queued is still done.
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
    /// Queues each group in the shard of its guest.
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
            let (reply, answer) = oneshot::channel();
            let batch = PendingBatch::new(groups, reply);
            let claim = admission.send(shard, Operation::Store(batch))?;
            let progress = Progress::Open { claim, answer };
            Ok(ShardReplies {
                positions,
                progress,
            })
        };
        shards.into_iter().map(queue).collect()
    }

    /// Changes a guest's chat, in its place among the guest's messages.
    pub(crate) async fn change<R>(
        &self,
        guest: GuestId,
        operation: impl FnOnce(ChatRequest<R>) -> Operation,
    ) -> Result<R> {
        let (reply, answer) = oneshot::channel();
        let shard = self.0.ingest.shard(&guest);
        let mut admission = self.admit(1).await?;
        admission.send(shard, operation(ChatRequest { guest, reply }))?;
        drop(admission); // a clone of the sender kept while waiting would keep the pipeline from ending
        answer.await.map_err(|_| unanswered())?
    }

    /// Returns once everything accepted before is committed and applied to the session lists; at once when nothing is accepted.
    pub(crate) async fn barrier(&self) {
        let Ok(sender) = self.0.ingest.sender() else {
            return;
        };
        let (reply, passed) = oneshot::channel();
        if sender.send(Arrival::Barrier(reply)).is_ok() {
            drop(sender); // as above
            let _ = passed.await; // an error is a pipeline that has ended: nothing is on its way any more
        }
    }

    /// Waits for permits of the queue, at most the admission time.
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
            // Asked for only now, so that nobody who waits for a permit keeps the pipeline from ending.
            sender: ingest.sender()?,
            permits,
        })
    }
}

/// Permits of the queue that are ours.
struct Admission {
    sender: mpsc::UnboundedSender<Arrival>,
    permits: OwnedSemaphorePermit,
}

impl Admission {
    /// Queues an operation with as many of the permits as it takes; by the claim it can be taken back.
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

/// Messages in the queue, and where their answers will come.
#[derive(Debug)]
pub struct PendingGroups {
    pub(super) service: Service,
    pub(super) owners: Vec<OwnerId>,
    pub(super) began: Instant,
    pub(super) shards: Vec<ShardReplies>,
}

/// What became of a group of messages, as far as it is known.
#[derive(Clone, Debug)]
pub enum Fate {
    /// What the service says.
    Answered(GroupOutcome),
    /// Nothing of it is stored, nor will be: it was taken back in time.
    NotBegun,
    /// It was begun, and nobody knows how it ended.
    Unknown,
}

/// The groups of a request that are in one shard, and where their answers will come.
#[derive(Debug)]
pub(super) struct ShardReplies {
    /// Among all groups of the request.
    positions: Vec<usize>,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Open {
        claim: Arc<Claim>,
        answer: oneshot::Receiver<Vec<GroupOutcome>>,
    },
    Answered(Vec<GroupOutcome>),
    NotBegun,
    Unknown,
}

impl PendingGroups {
    /// One answer per group, in order.
    ///
    /// # Errors
    /// `Unavailable` when the service stopped before it could answer.
    pub async fn answer(mut self) -> Result<Vec<GroupOutcome>> {
        self.wait().await;
        let answered = self.fates().into_iter().map(|fate| match fate {
            Fate::Answered(answer) => Ok(answer),
            Fate::NotBegun | Fate::Unknown => Err(unanswered()),
        });
        answered.collect()
    }

    /// Returns once there is nothing more to wait for. May be given up and called again.
    pub async fn wait(&mut self) {
        for shard in &mut self.shards {
            if let Progress::Open { claim, answer } = &mut shard.progress {
                shard.progress = match (answer.await, claim) {
                    (Ok(answers), _) => Progress::Answered(answers),
                    (Err(_), claim) if claim.take() => Progress::NotBegun,
                    (Err(_), _) => Progress::Unknown,
                };
            }
        }
    }

    /// Takes back whatever has not been begun.
    pub fn take_back(&mut self) {
        for shard in &mut self.shards {
            if matches!(&shard.progress, Progress::Open { claim, .. } if claim.take()) {
                shard.progress = Progress::NotBegun;
            }
        }
    }

    /// What is known by now: one fate per group, in order. What is still waiting is taken back first.
    pub fn fates(mut self) -> Vec<Fate> {
        self.take_back();
        let mut fates = Vec::new();
        let mut is_saved = false;
        for shard in self.shards {
            let positions = shard.positions.into_iter();
            let answers = match shard.progress {
                Progress::Answered(answers) => Ok(answers),
                Progress::Open { mut answer, .. } => answer.try_recv().map_err(|_| Fate::Unknown),
                Progress::NotBegun => Err(Fate::NotBegun),
                Progress::Unknown => Err(Fate::Unknown),
            };
            match answers {
                Ok(answers) => {
                    is_saved |= answers
                        .iter()
                        .any(|it| matches!(it, GroupOutcome::Saved(_)));
                    let answers = answers.into_iter().map(Fate::Answered);
                    fates.extend(positions.zip(answers));
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
