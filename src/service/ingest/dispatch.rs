//! Schedules the operations: batches are stored concurrently as far as the database gains from it, while the operations of
//! one shard, and so the messages of one guest, keep their order of arrival.

use super::super::{Service, Settings};
use super::queue::{Arrival, Queue, QueuedOperation, Shard};
use super::{Operation, apply, commit};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

/// Batches in the apply stage per batch that may be committing.
const APPLYING: usize = 4;

/// Runs queued operations until the queue is closed and everything in it is done.
pub(crate) async fn run(service: Service, queue: Queue) {
    let mut queue = queue.0;
    let writers = service.stores().chats.writers().max(1);
    let (events, mut happened) = mpsc::unbounded_channel();
    let runner = BatchRunner {
        service,
        events,
        // With one writer, one batch at a time in commit order: this keeps the only shard in order.
        applying: Arc::new(Semaphore::new(if writers == 1 {
            1
        } else {
            APPLYING * writers
        })),
        is_single: writers == 1,
    };
    let (mut schedule, mut tasks) = (Schedule::new(writers), JoinSet::new());
    let mut is_open = true;
    loop {
        while let Ok(arrival) = queue.try_recv() {
            schedule.accept(arrival);
        }
        while let Some((operation, jobs)) = schedule.next(runner.service.settings()) {
            tasks.spawn(runner.clone().carry_out(operation, jobs));
        }
        // Not awaited: a finished task would wake this one and push the waiting client to another thread.
        while let Some(ended) = tasks.try_join_next() {
            completed(ended);
        }
        if !is_open && schedule.is_empty() {
            return end(tasks).await;
        }
        tokio::select! {
            Some(event) = happened.recv() => match event {
                RunnerEvent::Committed(shards) => schedule.committed(shards),
                RunnerEvent::Applied(jobs) => schedule.applied(jobs),
                RunnerEvent::Panicked => return end(tasks).await,
            },
            arrival = queue.recv(), if is_open => match arrival {
                Some(arrival) => schedule.accept(arrival),
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

/// Propagates a task's panic.
fn completed(ended: Result<(), JoinError>) {
    if let Err(cause) = ended {
        match cause.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cause) => panic!("nobody cancels a batch: {cause}"),
        }
    }
}

enum RunnerEvent {
    /// The database can take another batch, and these shards are free again.
    Committed(BTreeSet<Shard>),
    /// A batch is applied to the lists, and its replies are about to be sent.
    Applied(Jobs),
    /// A runner panicked and will send no further event.
    Panicked,
}

/// The operations of a batch: their numbers, and the shards still locked.
#[derive(Debug, Default)]
struct Jobs {
    shards: BTreeSet<Shard>,
    numbers: Vec<u64>,
}

/// Runs a batch: commit, apply, reply.
#[derive(Clone)]
struct BatchRunner {
    service: Service,
    events: mpsc::UnboundedSender<RunnerEvent>,
    applying: Arc<Semaphore>,
    is_single: bool,
}

impl BatchRunner {
    // Tokio runs the task woken last first (LIFO slot), so the dispatcher is notified before the replies are sent:
    // the client should go on next, on this thread.
    async fn carry_out(self, operation: Operation, mut jobs: Jobs) {
        let service = &self.service;
        match operation {
            Operation::Store(batch) => {
                let stored = commit::store(service, batch).await;
                let _permit = self.committed(&mut jobs).await;
                let replies = apply::store(service, stored).await;
                self.notify(RunnerEvent::Applied(jobs));
                replies.send();
            }
            Operation::Erase(request) => {
                let erased = commit::erase(service, &request).await;
                let _permit = self.committed(&mut jobs).await;
                let erasure = apply::erase(service, request.guest, erased).await;
                self.notify(RunnerEvent::Applied(jobs));
                let _ = request.reply.send(erasure); // a client that went away changes nothing
            }
            Operation::Migrate(request, user) => {
                let migrated = commit::migrate(service, &request, &user).await;
                let _permit = self.committed(&mut jobs).await;
                let migrated = apply::migrate(service, request.guest, migrated).await;
                self.notify(RunnerEvent::Applied(jobs));
                let _ = request.reply.send(migrated); // as above
            }
        }
    }

    /// Lets the next batch commit, once there is room in the apply stage; the room is held until the permit is dropped.
    async fn committed(&self, jobs: &mut Jobs) -> Result<SemaphorePermit<'_>, AcquireError> {
        // Never closed, so this only waits for earlier batches.
        let permit = self.applying.acquire().await;
        let free = if self.is_single {
            std::mem::take(&mut jobs.shards)
        } else {
            BTreeSet::new()
        };
        self.notify(RunnerEvent::Committed(free));
        permit
    }

    fn notify(&self, event: RunnerEvent) {
        let _ = self.events.send(event); // the receiver is dropped only after a panic
    }
}

impl Drop for BatchRunner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.notify(RunnerEvent::Panicked);
        }
    }
}

/// The waiting and running operations, numbered in order of arrival.
struct Schedule {
    /// Batches the database can take now.
    idle: usize,
    numbered: u64,
    ready: VecDeque<(u64, QueuedOperation)>,
    /// The shards in use, each with the operations that wait for it.
    busy: HashMap<Shard, VecDeque<(u64, QueuedOperation)>>,
    /// The numbers of all unfinished operations.
    outstanding: BTreeSet<u64>,
    /// Each barrier completes when all operations below its number are done.
    barriers: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl Schedule {
    fn new(writers: usize) -> Self {
        Self {
            idle: writers,
            numbered: 0,
            ready: VecDeque::new(),
            busy: HashMap::new(),
            outstanding: BTreeSet::new(),
            barriers: VecDeque::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    fn accept(&mut self, arrival: Arrival) {
        let number = self.numbered;
        self.numbered += 1;
        match arrival {
            Arrival::Operation(queued) => {
                self.outstanding.insert(number);
                self.ready.push_back((number, queued));
            }
            Arrival::Barrier(reply) => {
                self.barriers.push_back((number, reply));
                self.release_barriers();
            }
        }
    }

    /// The next operation to run, if the database can take a batch; messages are joined by all waiting ones that fit.
    fn next(&mut self, settings: &Settings) -> Option<(Operation, Jobs)> {
        if self.idle == 0 {
            return None;
        }
        let mut jobs = Jobs::default();
        let mut operation = self.take(&mut jobs, |_| true)?;
        let is_store = |operation: &Operation| matches!(operation, Operation::Store(_));
        if let Operation::Store(batch) = &mut operation {
            while batch.has_room(settings)
                && let Some(Operation::Store(more)) = self.take(&mut jobs, is_store)
            {
                batch.add(more);
            }
        }
        for shard in &jobs.shards {
            self.busy.entry(*shard).or_default();
        }
        self.idle -= 1;
        Some((operation, jobs))
    }

    /// The next operation that is wanted and whose shard is free. Operations whose shard is busy are queued behind it; cancelled
    /// ones are dropped.
    fn take(
        &mut self,
        jobs: &mut Jobs,
        is_wanted: impl Fn(&Operation) -> bool,
    ) -> Option<Operation> {
        loop {
            let (number, queued) = self.ready.pop_front()?;
            if let Some(waiting) = self.busy.get_mut(&queued.shard) {
                waiting.push_back((number, queued));
            } else if !is_wanted(queued.operation()) {
                self.ready.push_front((number, queued));
                return None;
            } else if queued.begin() {
                jobs.numbers.push(number);
                jobs.shards.insert(queued.shard);
                return Some(queued.into_operation());
            } else {
                self.outstanding.remove(&number);
                self.release_barriers();
            }
        }
    }

    /// The database can take another batch.
    fn committed(&mut self, shards: BTreeSet<Shard>) {
        self.idle += 1;
        self.free(shards);
    }

    fn applied(&mut self, jobs: Jobs) {
        self.free(jobs.shards);
        for number in jobs.numbers {
            self.outstanding.remove(&number);
        }
        self.release_barriers();
    }

    /// Operations that waited for a shard precede later arrivals.
    fn free(&mut self, shards: BTreeSet<Shard>) {
        for shard in shards {
            for queued in self.busy.remove(&shard).into_iter().flatten().rev() {
                self.ready.push_front(queued);
            }
        }
    }

    fn release_barriers(&mut self) {
        let first = self.outstanding.first().copied().unwrap_or(u64::MAX);
        while let Some((_, reply)) = self.barriers.pop_front_if(|(number, _)| *number < first) {
            let _ = reply.send(()); // the requester may have gone
        }
    }
}
