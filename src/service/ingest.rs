//! The write path: messages are queued, committed in batches, applied to the lists, answered.
//!
//! Two tasks form a pipeline. The committer takes what waits, up to the batch limits, and commits it; there is no timer,
//! because while one batch is being committed the next one gathers. The applier follows with the lists and the answers.
//! Erasing and migrating pass through the same pipeline, so that they keep their place among the messages of a guest.
//!
//! **Invariant:** a message is answered as saved only after its commit, and nothing after the commit can fail it.

mod apply;
mod commit;

use super::Service;
use crate::chat::{GuestId, ListState, MessageId, NewMessage, OwnerId, Receipt};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::database::{Embedding, Entry, Erased, Group, Migrated, Recorded};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

/// What became of one group of messages.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Every message of it is stored.
    Saved(Vec<Saved>),
    /// Nothing of it is: the message at `index` repeats an id with another content.
    Conflict {
        /// Its place in the group.
        index: usize,
        /// The id in question.
        id: MessageId,
    },
    /// Nothing of it is, and why.
    Failed(Error),
}

/// A stored message and what each of its places says.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Where it is in the tables.
    pub recorded: Recorded,
    /// What to tell the client.
    pub receipt: Receipt,
}

/// The entrance to the pipeline.
#[derive(Debug)]
pub(super) struct Ingest {
    /// Taken when the service stops, after which nothing is accepted. The channels themselves have no bound: `places` is it.
    lanes: Mutex<Option<Lanes>>,
    /// A place for each message that may wait: a request with many takes many, so that memory is bounded by messages.
    places: Arc<Semaphore>,
    capacity: u32,
}

/// A job in the queue, and the places it takes there until the committer comes to it.
#[derive(Debug)]
struct Queued {
    job: Job,
    places: Option<OwnedSemaphorePermit>,
}

/// Work for the pipeline.
#[derive(Debug)]
enum Job {
    Store {
        groups: Vec<Group>,
        reply: oneshot::Sender<Vec<Answer>>,
    },
    Erase {
        guest: GuestId,
        reply: oneshot::Sender<Result<Erasure>>,
    },
    Migrate {
        guest: GuestId,
        user: OwnerId,
        reply: oneshot::Sender<Result<Migrated>>,
    },
    /// Does nothing but come out at the other end.
    Pass { reply: oneshot::Sender<()> },
}

impl Queued {
    /// The job, its places free for others.
    fn into_job(self) -> Job {
        drop(self.places);
        self.job
    }
}

impl Job {
    fn messages(&self) -> usize {
        match self {
            Self::Store { groups, .. } => groups.iter().map(|group| group.0.len()).sum(),
            Self::Erase { .. } | Self::Migrate { .. } | Self::Pass { .. } => 1,
        }
    }
}

/// What an erasure removed, and whether the list went with it at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Erasure {
    pub(super) erased: Erased,
    pub(super) list_removed: bool,
}

impl Ingest {
    pub(super) fn new(capacity: usize, lanes: usize) -> (Self, Queues) {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..lanes.max(1)).map(|_| mpsc::unbounded_channel()).unzip();
        let capacity = u32::try_from(capacity.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let ingest = Self {
            lanes: Mutex::new(Some(Lanes(senders.into()))),
            places: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
        };
        (ingest, Queues(receivers))
    }

    /// Accepts nothing more; what is queued is still done.
    pub(super) fn close(&self) {
        drop(
            self.lanes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    fn lanes(&self) -> Result<Lanes> {
        let lanes = self
            .lanes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        lanes.ok_or_else(|| busy(ErrorKind::Unavailable, "the service is stopping"))
    }
}

/// One way through the pipeline for each batch that the database can store at the same time. A guest always takes the
/// same, so that what comes first is stored first.
#[derive(Clone, Debug)]
struct Lanes(Arc<[mpsc::UnboundedSender<Queued>]>);

impl Lanes {
    /// The lane of a guest.
    fn of(&self, guest: &GuestId) -> usize {
        let mut hasher = DefaultHasher::new();
        guest.hash(&mut hasher);
        (hasher.finish() % self.0.len() as u64) as usize
    }
}

/// The other end of the entrance.
pub(super) struct Queues(Vec<mpsc::UnboundedReceiver<Queued>>);

/// Starts the pipeline.
pub(super) fn spawn(service: &Service, queues: Queues, tasks: &mut JoinSet<()>) {
    for queue in queues.0 {
        // A few batches deep: enough to keep the committer busy, too little to hide a stalled list store.
        let (committed, apply) = mpsc::channel(4);
        service.watch(
            tasks,
            "commit",
            commit::run(service.clone(), queue, committed),
        );
        service.watch(tasks, "apply", apply::run(service.clone(), apply));
    }
}

impl Service {
    /// Stores groups of messages, each whole or not at all; one answer per group, in order.
    ///
    /// # Errors
    /// `Busy` when the queue stays full for the admission time; nothing was stored then.
    pub async fn store(&self, groups: Vec<Vec<NewMessage>>) -> Result<Vec<Answer>> {
        self.enqueue(groups).await?.answer().await
    }

    /// Puts groups of messages into the queue and returns what to wait on. What is enqueued first is stored first.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub async fn enqueue(&self, groups: Vec<Vec<NewMessage>>) -> Result<Waiting> {
        let began = Instant::now();
        let first =
            |group: &Vec<NewMessage>| group.first().map(|message| OwnerId::from(&message.guest));
        let mut owners: Vec<_> = groups.iter().filter_map(first).collect();
        owners.sort_unstable();
        owners.dedup();
        let entries = |group: Vec<NewMessage>| {
            Group(
                group
                    .into_iter()
                    .map(|message| self.entry(message))
                    .collect(),
            )
        };
        let groups: Vec<Group> = groups.into_iter().map(entries).collect();
        let parts = self.queue_groups(groups).await?;
        Ok(Waiting {
            service: self.clone(),
            owners,
            began,
            parts,
        })
    }

    /// Queues each group in the lane of its guest.
    async fn queue_groups(&self, groups: Vec<Group>) -> Result<Vec<Part>> {
        let messages = groups.iter().map(|group| group.0.len()).sum();
        let mut admission = self.admit(messages).await?;
        let mut lanes: BTreeMap<usize, (Vec<usize>, Vec<Group>)> = BTreeMap::new();
        for (place, group) in groups.into_iter().enumerate() {
            let guest = group.0.first().map(|entry| &entry.message.guest);
            let lane = guest.map_or(0, |guest| admission.lanes.of(guest));
            let (places, groups) = lanes.entry(lane).or_default();
            places.push(place);
            groups.push(group);
        }
        let mut parts = Vec::with_capacity(lanes.len());
        for (lane, (places, groups)) in lanes {
            let (reply, answer) = oneshot::channel();
            admission.send(lane, Job::Store { groups, reply })?;
            parts.push(Part { places, answer });
        }
        Ok(parts)
    }

    pub(super) async fn pass_erase(&self, guest: GuestId) -> Result<Erasure> {
        let (reply, answer) = oneshot::channel();
        let lane_of = guest.clone();
        self.pass(&lane_of, Job::Erase { guest, reply }, answer)
            .await?
    }

    pub(super) async fn pass_migrate(&self, guest: GuestId, user: OwnerId) -> Result<Migrated> {
        let (reply, answer) = oneshot::channel();
        let lane_of = guest.clone();
        self.pass(&lane_of, Job::Migrate { guest, user, reply }, answer)
            .await?
    }

    /// Returns once everything accepted before is committed and the lists have been told; at once when nothing is accepted.
    pub(super) async fn pass_through(&self) {
        let Ok(lanes) = self.0.ingest.lanes() else {
            return;
        };
        let pass = |lane: &mpsc::UnboundedSender<Queued>| {
            let (reply, answer) = oneshot::channel();
            let job = Job::Pass { reply };
            lane.send(Queued { job, places: None }).ok()?;
            Some(answer)
        };
        let answers: Vec<_> = lanes.0.iter().filter_map(pass).collect();
        drop(lanes); // kept while waiting, they would keep the pipeline from ending
        for answer in answers {
            let _ = answer.await; // an error is a lane that has ended: nothing is on its way any more
        }
    }

    async fn pass<R>(&self, guest: &GuestId, job: Job, answer: oneshot::Receiver<R>) -> Result<R> {
        let mut admission = self.admit(1).await?;
        let lane = admission.lanes.of(guest);
        admission.send(lane, job)?;
        drop(admission); // as above
        answer.await.map_err(|_| unanswered())
    }

    /// Waits for places in the queue, at most the admission time.
    async fn admit(&self, messages: usize) -> Result<Admission> {
        let ingest = &self.0.ingest;
        let wanted = u32::try_from(messages)
            .unwrap_or(u32::MAX)
            .clamp(1, ingest.capacity);
        let waiting = Arc::clone(&ingest.places).acquire_many_owned(wanted);
        let admitted = tokio::time::timeout(self.0.settings.admission, waiting).await;
        let full = |_| {
            busy(
                ErrorKind::Busy,
                "too many requests are waiting; try again shortly",
            )
        };
        let places = admitted.map_err(full)?.map_err(|_| stopping())?;
        Ok(Admission {
            // Asked for only now, so that nobody who waits for a place keeps the pipeline from ending.
            lanes: ingest.lanes()?,
            places,
        })
    }

    /// Adds the vector where it is a matter of microseconds; a slower model is asked later.
    fn entry(&self, message: NewMessage) -> Entry {
        let embedding = match &self.0.parts.embedder {
            None => Embedding::Off,
            Some(embedder) => super::embedding::at_once(embedder.as_ref(), &message),
        };
        Entry { message, embedding }
    }
}

/// Places in the queue that are ours.
struct Admission {
    lanes: Lanes,
    places: OwnedSemaphorePermit,
}

impl Admission {
    /// Puts a job into a lane, with as many of the places as it takes.
    fn send(&mut self, lane: usize, job: Job) -> Result<()> {
        let wanted = job.messages().min(self.places.num_permits());
        let places = self.places.split(wanted);
        self.lanes.0[lane]
            .send(Queued { job, places })
            .map_err(|_| stopping())
    }
}

/// Messages in the queue, and where their answers will come.
#[derive(Debug)]
pub struct Waiting {
    service: Service,
    owners: Vec<OwnerId>,
    began: Instant,
    parts: Vec<Part>,
}

/// The groups of a request that went one way, and where their answers will come.
#[derive(Debug)]
struct Part {
    /// Their places among all groups of the request.
    places: Vec<usize>,
    answer: oneshot::Receiver<Vec<Answer>>,
}

impl Waiting {
    /// One answer per group, in order.
    ///
    /// # Errors
    /// `Unavailable` when the service stopped before it could answer.
    pub async fn answer(self) -> Result<Vec<Answer>> {
        let mut answered = Vec::new();
        for part in self.parts {
            let answers = part.answer.await.map_err(|_| unanswered())?;
            answered.extend(part.places.into_iter().zip(answers));
        }
        answered.sort_unstable_by_key(|(place, _)| *place);
        let answers: Vec<_> = answered.into_iter().map(|(_, answer)| answer).collect();
        if answers
            .iter()
            .any(|answer| matches!(answer, Answer::Saved(_)))
        {
            let took = self.began.elapsed();
            self.service.0.metrics.write(self.owners, took);
        }
        Ok(answers)
    }
}

fn stopping() -> Error {
    busy(ErrorKind::Unavailable, "the service is stopping")
}

fn unanswered() -> Error {
    busy(
        ErrorKind::Unavailable,
        "the service stopped before it could answer",
    )
}

fn busy(kind: ErrorKind, context: &str) -> Error {
    Error::new(kind, "service", "ingest", context)
}

/// The receipt of a recorded message, once the list has been told.
fn receipt(recorded: &Recorded, list: ListState) -> Receipt {
    Receipt {
        list: recorded.replayed.unwrap_or(list),
        conversation: recorded.conversation_row,
        embedding: recorded.embedding,
        usage: recorded.usage_row,
    }
}
