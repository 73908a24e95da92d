//! The entrance to the pipeline: places for messages, and the way of each guest.
//!
//! **Invariant:** what is taken back is never stored: a job is begun by the pipeline or taken back by whoever asked, not both.

use super::super::Service;
use super::{Answer, Job, busy, unanswered};
use crate::chat::{GuestId, OwnerId};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::database::Group;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
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
    claim: Arc<Claim>,
}

/// Whether a job has been begun or taken back: whoever is first decides.
#[derive(Debug, Default)]
struct Claim(AtomicBool);

impl Claim {
    /// Whether it is ours.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Queued {
    /// Whether it may be carried out; it cannot be taken back any more then.
    pub(super) fn begin(&self) -> bool {
        self.claim.take()
    }

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
            let claim = admission.send(lane, Job::Store { groups, reply })?;
            let progress = Progress::Open { claim, answer };
            parts.push(Part { places, progress });
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
            claim: Arc::default(),
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
    /// Puts a job into a lane, with as many of the places as it takes; by the claim it can be taken back.
    fn send(&mut self, lane: Lane, job: Job) -> Result<Arc<Claim>> {
        let claim = Arc::<Claim>::default();
        let wanted = job.messages().min(self.places.num_permits());
        let places = self.places.split(wanted);
        let queued = Queued {
            lane: Some(lane),
            job,
            places,
            claim: Arc::clone(&claim),
        };
        self.sender.send(queued).map_err(|_| stopping())?;
        Ok(claim)
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

/// What became of a group of messages, as far as it is known.
#[derive(Clone, Debug)]
pub enum Fate {
    /// What the service says.
    Answered(Answer),
    /// Nothing of it is stored, nor will be: it was taken back in time.
    NotBegun,
    /// It was begun, and nobody knows how it ended.
    Unknown,
}

/// The groups of a request that went one way, and where their answers will come.
#[derive(Debug)]
pub(super) struct Part {
    /// Their places among all groups of the request.
    places: Vec<usize>,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Open {
        claim: Arc<Claim>,
        answer: oneshot::Receiver<Vec<Answer>>,
    },
    Answered(Vec<Answer>),
    NotBegun,
    Unknown,
}

impl Waiting {
    /// One answer per group, in order.
    ///
    /// # Errors
    /// `Unavailable` when the service stopped before it could answer.
    pub async fn answer(mut self) -> Result<Vec<Answer>> {
        self.wait().await;
        let answered = self.fates().into_iter().map(|fate| match fate {
            Fate::Answered(answer) => Ok(answer),
            Fate::NotBegun | Fate::Unknown => Err(unanswered()),
        });
        answered.collect()
    }

    /// Returns once there is nothing more to wait for. May be given up and called again.
    pub async fn wait(&mut self) {
        for part in &mut self.parts {
            if let Progress::Open { claim, answer } = &mut part.progress {
                part.progress = match (answer.await, claim) {
                    (Ok(answers), _) => Progress::Answered(answers),
                    (Err(_), claim) if claim.take() => Progress::NotBegun,
                    (Err(_), _) => Progress::Unknown,
                };
            }
        }
    }

    /// Takes back whatever has not been begun.
    pub fn take_back(&mut self) {
        for part in &mut self.parts {
            if matches!(&part.progress, Progress::Open { claim, .. } if claim.take()) {
                part.progress = Progress::NotBegun;
            }
        }
    }

    /// What is known by now: one fate per group, in order. What is still waiting is taken back first.
    pub fn fates(mut self) -> Vec<Fate> {
        self.take_back();
        let mut fates = Vec::new();
        let mut is_saved = false;
        for part in self.parts {
            let answers = match part.progress {
                Progress::Answered(answers) => Ok(answers),
                Progress::Open { mut answer, .. } => answer.try_recv().map_err(|_| Fate::Unknown),
                Progress::NotBegun => Err(Fate::NotBegun),
                Progress::Unknown => Err(Fate::Unknown),
            };
            match answers {
                Ok(answers) => {
                    is_saved |= answers.iter().any(|it| matches!(it, Answer::Saved(_)));
                    let answers = answers.into_iter().map(Fate::Answered);
                    fates.extend(part.places.into_iter().zip(answers));
                }
                Err(fate) => fates.extend(part.places.into_iter().map(|at| (at, fate.clone()))),
            }
        }
        if is_saved {
            let took = self.began.elapsed();
            self.service.0.metrics.write(self.owners, took);
        }
        fates.sort_unstable_by_key(|(place, _)| *place);
        fates.into_iter().map(|(_, fate)| fate).collect()
    }
}

fn stopping() -> Error {
    busy(ErrorKind::Unavailable, "the service is stopping")
}
