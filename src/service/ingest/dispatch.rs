//! What is done next, and what has to wait: batches are stored side by side as far as the database gains from it, while
//! the jobs of one lane, and so the messages of one guest, are done in the order in which they came.

use super::super::{Service, Settings};
use super::commit::{Gathered, Work};
use super::queue::{Lane, Queue, Queued};
use super::{Job, apply, commit};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

/// Batches whose lists and answers may be under way, for each that may be being committed.
const APPLYING: usize = 4;

/// Carries out what is queued until the queue is closed and everything in it is done.
pub(in crate::service) async fn run(service: Service, queue: Queue) {
    let mut queue = queue.0;
    let writers = service.stores().chats.writers().max(1);
    let (tell, mut told) = mpsc::unbounded_channel();
    let crew = Crew {
        service,
        tell,
        // One at a time behind one writer, in the order of the commits: that is what keeps its only lane in order.
        turns: Arc::new(Semaphore::new(if writers == 1 {
            1
        } else {
            APPLYING * writers
        })),
        is_single: writers == 1,
    };
    let (mut plan, mut tasks) = (Plan::new(writers), JoinSet::new());
    let mut is_open = true;
    loop {
        while let Ok(queued) = queue.try_recv() {
            plan.accept(queued);
        }
        while let Some(batch) = plan.next(crew.service.settings()) {
            tasks.spawn(crew.clone().carry_out(batch));
        }
        // Not awaited: a task that ends would wake this one, and push whoever waits for its answer to another thread.
        while let Some(ended) = tasks.try_join_next() {
            completed(ended);
        }
        if !is_open && plan.is_empty() {
            return end(tasks).await;
        }
        tokio::select! {
            Some(told) = told.recv() => match told {
                Told::Committed(lanes) => plan.committed(lanes),
                Told::Applied(done) => plan.applied(done),
                Told::Panicked => return end(tasks).await,
            },
            queued = queue.recv(), if is_open => match queued {
                Some(queued) => plan.accept(queued),
                None => is_open = false,
            },
        }
    }
}

/// Waits for every task that is left.
async fn end(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        completed(ended);
    }
}

/// A panic of a task is ours.
fn completed(ended: Result<(), JoinError>) {
    if let Err(cause) = ended {
        match cause.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cause) => panic!("nobody cancels a batch: {cause}"),
        }
    }
}

/// What a task has to tell.
enum Told {
    /// The database can take another batch, and these lanes are free again.
    Committed(BTreeSet<Lane>),
    /// The lists know of a batch, and who waits for it is about to hear of it.
    Applied(Batched),
    /// It will tell nothing more.
    Panicked,
}

/// Work, and whose it is.
struct Batch {
    work: Work,
    of: Batched,
}

/// The jobs of a batch: their lanes, as far as they are still held, and their numbers.
#[derive(Debug, Default)]
struct Batched {
    lanes: BTreeSet<Lane>,
    numbers: Vec<u64>,
}

/// Whoever carries out a batch.
#[derive(Clone)]
struct Crew {
    service: Service,
    tell: mpsc::UnboundedSender<Told>,
    turns: Arc<Semaphore>,
    is_single: bool,
}

impl Crew {
    async fn carry_out(self, batch: Batch) {
        let (service, mut of) = (&self.service, batch.of);
        let committed = commit::commit(service, batch.work).await;
        // Never closed, so this only waits for those before.
        let _turn = self.turns.acquire().await;
        let free = if self.is_single {
            std::mem::take(&mut of.lanes)
        } else {
            BTreeSet::new()
        };
        self.tell(Told::Committed(free));
        let answers = apply::apply(service, committed).await;
        // Before the answers: the last task to be woken here is the first to go on, on this thread, and that should be
        // whoever waits.
        self.tell(Told::Applied(of));
        answers.give();
    }

    fn tell(&self, told: Told) {
        let _ = self.tell.send(told); // nobody listens any more only after a panic
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell(Told::Panicked);
        }
    }
}

/// A job that was accepted, numbered in the order of coming.
struct Accepted {
    number: u64,
    lane: Lane,
    queued: Queued,
}

/// What is to be done, and what is under way.
struct Plan {
    /// Batches the database can take now.
    idle: usize,
    numbered: u64,
    ready: VecDeque<Accepted>,
    /// The lanes that are under way, each with the jobs that wait for it.
    busy: HashMap<Lane, VecDeque<Accepted>>,
    /// The numbers of everything accepted and not done.
    outstanding: BTreeSet<u64>,
    /// Whoever waits until everything before a number is done.
    passing: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl Plan {
    fn new(writers: usize) -> Self {
        Self {
            idle: writers,
            numbered: 0,
            ready: VecDeque::new(),
            busy: HashMap::new(),
            outstanding: BTreeSet::new(),
            passing: VecDeque::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    fn accept(&mut self, queued: Queued) {
        let number = self.numbered;
        self.numbered += 1;
        match queued.lane {
            Some(lane) => {
                self.outstanding.insert(number);
                self.ready.push_back(Accepted {
                    number,
                    lane,
                    queued,
                });
            }
            None => {
                if let Job::Pass { reply } = queued.into_job() {
                    self.passing.push_back((number, reply));
                }
                self.let_pass();
            }
        }
    }

    /// A batch of what may be done now, if the database can take one.
    fn next(&mut self, settings: &Settings) -> Option<Batch> {
        if self.idle == 0 {
            return None;
        }
        let first = self.take(|_| true)?;
        let mut of = Batched::default();
        of.add(&first);
        let work = match first.queued.into_job() {
            Job::Store { groups, reply } => {
                let mut gathered = Gathered::default();
                gathered.add(groups, reply);
                while gathered.has_room(settings)
                    && let Some(more) = self.take(|job| matches!(job, Job::Store { .. }))
                {
                    of.add(&more);
                    if let Job::Store { groups, reply } = more.queued.into_job() {
                        gathered.add(groups, reply);
                    }
                }
                Work::Store(gathered)
            }
            Job::Erase { guest, reply } => Work::Erase { guest, reply },
            Job::Migrate { guest, user, reply } => Work::Migrate { guest, user, reply },
            Job::Pass { reply } => {
                let _ = reply.send(()); // never here: it has no lane
                return None;
            }
        };
        for lane in &of.lanes {
            self.busy.entry(*lane).or_default();
        }
        self.idle -= 1;
        Some(Batch { work, of })
    }

    /// The next job whose lane is free, if it is wanted; those that have to wait for their lane are put there, and those that
    /// were taken back are forgotten.
    fn take(&mut self, is_wanted: impl Fn(&Job) -> bool) -> Option<Accepted> {
        loop {
            let job = self.ready.pop_front()?;
            if let Some(waiting) = self.busy.get_mut(&job.lane) {
                waiting.push_back(job);
            } else if !is_wanted(job.queued.job()) {
                self.ready.push_front(job);
                return None;
            } else if job.queued.begin() {
                return Some(job);
            } else {
                self.outstanding.remove(&job.number);
                self.let_pass();
            }
        }
    }

    /// The database can take another batch.
    fn committed(&mut self, lanes: BTreeSet<Lane>) {
        self.idle += 1;
        self.free(lanes);
    }

    fn applied(&mut self, done: Batched) {
        self.free(done.lanes);
        for number in done.numbers {
            self.outstanding.remove(&number);
        }
        self.let_pass();
    }

    /// What waited for a lane goes before what came later.
    fn free(&mut self, lanes: BTreeSet<Lane>) {
        for lane in lanes {
            for job in self.busy.remove(&lane).into_iter().flatten().rev() {
                self.ready.push_front(job);
            }
        }
    }

    fn let_pass(&mut self) {
        let first = self.outstanding.first().copied().unwrap_or(u64::MAX);
        while self
            .passing
            .front()
            .is_some_and(|(number, _)| *number < first)
        {
            if let Some((_, reply)) = self.passing.pop_front() {
                let _ = reply.send(()); // whoever asked may have gone
            }
        }
    }
}

impl Batched {
    fn add(&mut self, job: &Accepted) {
        self.numbers.push(job.number);
        self.lanes.insert(job.lane);
    }
}
