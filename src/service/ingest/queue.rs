//! The entrance to the pipeline: places for messages, and the way of each guest.

use super::super::Service;
use super::{Answer, Job, busy, unanswered};
use crate::chat::{GuestId, OwnerId};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::database::Group;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Lanes where batches are stored side by side: so many that two guests rarely share one.
const LANES: u64 = 1024;

/// What keeps the messages of a guest in order: jobs of one lane are done one after another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Lane(u64);

/// The entrance to the pipeline.
#[derive(Debug)]
pub(in crate::service) struct Ingest {
    /// Taken when the service stops, after which nothing is accepted. The channel itself has no bound: `places` is it.
    queue: Mutex<Option<mpsc::UnboundedSender<Queued>>>,
    /// A place for each message that may wait: a request with many takes many, so that memory is bounded by messages.
    places: Arc<Semaphore>,
    capacity: u32,
    lanes: u64,
}

/// The other end of the entrance.
pub(in crate::service) struct Queue(pub(super) mpsc::UnboundedReceiver<Queued>);

/// A job in the queue, and the places it takes there until it is carried out.
#[derive(Debug)]
pub(super) struct Queued {
    /// `None` for what comes after everything before it.
    pub(super) lane: Option<Lane>,
    job: Job,
    places: Option<OwnedSemaphorePermit>,
}

impl Queued {
    /// The job, its places free for others.
    pub(super) fn into_job(self) -> Job {
        drop(self.places);
        self.job
    }

    pub(super) fn job(&self) -> &Job {
        &self.job
    }
}

impl Ingest {
    /// Room for `capacity` messages, on the way to a database that stores `writers` batches at once.
    pub(in crate::service) fn new(capacity: usize, writers: usize) -> (Self, Queue) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let capacity = u32::try_from(capacity.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let ingest = Self {
            queue: Mutex::new(Some(sender)),
            places: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
            lanes: if writers > 1 { LANES } else { 1 },
        };
        (ingest, Queue(receiver))
    }

    /// Accepts nothing more; what is queued is still done.
    pub(in crate::service) fn close(&self) {
        drop(
            self.queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    fn sender(&self) -> Result<mpsc::UnboundedSender<Queued>> {
        let sender = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        sender.ok_or_else(stopping)
    }

    fn lane(&self, guest: &GuestId) -> Lane {
        let mut hasher = DefaultHasher::new();
        guest.hash(&mut hasher);
        Lane(hasher.finish() % self.lanes)
    }
}

impl Service {
    /// Queues each group in the lane of its guest.
    pub(super) async fn queue_groups(&self, groups: Vec<Group>) -> Result<Vec<Part>> {
        let messages = groups.iter().map(|group| group.0.len()).sum();
        let mut admission = self.admit(messages).await?;
        let mut lanes: BTreeMap<Lane, (Vec<usize>, Vec<Group>)> = BTreeMap::new();
        for (place, group) in groups.into_iter().enumerate() {
            let guest = group.0.first().map(|entry| &entry.message.guest);
            let lane = guest.map_or(Lane(0), |guest| self.0.ingest.lane(guest));
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

    /// Returns once everything accepted before is committed and the lists have been told; at once when nothing is accepted.
    pub(in crate::service) async fn pass_through(&self) {
        let Ok(sender) = self.0.ingest.sender() else {
            return;
        };
        let (reply, answer) = oneshot::channel();
        let queued = Queued {
            lane: None,
            job: Job::Pass { reply },
            places: None,
        };
        if sender.send(queued).is_ok() {
            drop(sender); // a clone kept while waiting would keep the pipeline from ending
            let _ = answer.await; // an error is a pipeline that has ended: nothing is on its way any more
        }
    }

    pub(super) async fn pass<R>(
        &self,
        guest: &GuestId,
        job: Job,
        answer: oneshot::Receiver<R>,
    ) -> Result<R> {
        let mut admission = self.admit(1).await?;
        admission.send(self.0.ingest.lane(guest), job)?;
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
            sender: ingest.sender()?,
            places,
        })
    }
}

/// Places in the queue that are ours.
struct Admission {
    sender: mpsc::UnboundedSender<Queued>,
    places: OwnedSemaphorePermit,
}

impl Admission {
    /// Puts a job into a lane, with as many of the places as it takes.
    fn send(&mut self, lane: Lane, job: Job) -> Result<()> {
        let wanted = job.messages().min(self.places.num_permits());
        let places = self.places.split(wanted);
        let queued = Queued {
            lane: Some(lane),
            job,
            places,
        };
        self.sender.send(queued).map_err(|_| stopping())
    }
}

/// Messages in the queue, and where their answers will come.
#[derive(Debug)]
pub struct Waiting {
    pub(super) service: Service,
    pub(super) owners: Vec<OwnerId>,
    pub(super) began: Instant,
    pub(super) parts: Vec<Part>,
}

/// The groups of a request that went one way, and where their answers will come.
#[derive(Debug)]
pub(super) struct Part {
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
