//! Threads that run the model, so that nothing else waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use guestbook_kernel::Lanes;
use tokio::sync::oneshot;

use super::SharedModel;
use super::encoder::Scratch;
use guestbook_core::Vector;
use guestbook_embed::EmbedError;

type EmbedReply = Result<Option<Vector>, EmbedError>;

/// When a text is to be embedded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Priority {
    /// Before all that wait: somebody has asked a question and waits for the answer.
    Next,
    /// After those that wait already: messages that were stored.
    Waiting,
}

struct EmbedJob {
    text: String,
    answer: oneshot::Sender<EmbedReply>,
}

/// The workers; they end when this is dropped.
pub(super) struct Workers {
    line: Arc<JobQueue>,
    count: usize,
}

impl Workers {
    /// Half the cores, so that requests have the other half; at least one.
    pub(super) fn start(model: SharedModel) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let wanted = (cores / 2).max(1);
        let (line, model) = (Arc::<JobQueue>::default(), Arc::new(model));
        let start = |_: &usize| {
            let (worker, model) = (line.worker(), Arc::clone(&model));
            let thread = thread::Builder::new().name("minilm".to_owned());
            thread.spawn(move || work(&worker, &model)).is_ok()
        };
        let count = (0..wanted).filter(start).count();
        Self { line, count }
    }

    pub(super) fn count(&self) -> usize {
        self.count.max(1)
    }

    /// The vector of a text. Nothing is queued before it is polled.
    pub(super) fn ask(
        &self,
        turn: Priority,
        text: &str,
    ) -> impl Future<Output = EmbedReply> + Send + use<> {
        let (line, text) = (Arc::clone(&self.line), text.to_owned());
        async move {
            let gone = || EmbedError::Permanent {
                cause: "no worker of the model minilm is running; restart guestbook".to_owned(),
            };
            let (answer, answered) = oneshot::channel();
            line.put(turn, EmbedJob { text, answer });
            drop(line);
            answered.await.map_err(|_| gone())?
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.line.end();
    }
}

/// The texts that wait, and the workers that take them.
#[derive(Default)]
struct JobQueue {
    waiting: Mutex<PendingReply>,
    changed: Condvar,
}

#[derive(Default)]
struct PendingReply {
    next: VecDeque<EmbedJob>,
    others: VecDeque<EmbedJob>,
    workers: usize,
    has_ended: bool,
}

impl JobQueue {
    /// Puts a job in its place. It is dropped where nobody will ever take it.
    fn put(&self, turn: Priority, job: EmbedJob) {
        let mut waiting = self.waiting();
        if waiting.has_ended || waiting.workers == 0 {
            return;
        }
        match turn {
            Priority::Next => waiting.next.push_back(job),
            Priority::Waiting => waiting.others.push_back(job),
        }
        self.changed.notify_one();
    }

    /// Waits for a job; `None` when there will be no more.
    fn take(&self) -> Option<EmbedJob> {
        let mut waiting = self.waiting();
        loop {
            let first = waiting.next.pop_front();
            if let Some(job) = first.or_else(|| waiting.others.pop_front()) {
                return Some(job);
            }
            if waiting.has_ended {
                return None;
            }
            let changed = self.changed.wait(waiting);
            waiting = changed.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self) {
        self.waiting().has_ended = true;
        self.changed.notify_all();
    }

    fn worker(self: &Arc<Self>) -> WorkerThread {
        self.waiting().workers += 1;
        WorkerThread(Arc::clone(self))
    }

    fn waiting(&self) -> MutexGuard<'_, PendingReply> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that takes jobs, as long as this is there.
struct WorkerThread(Arc<JobQueue>);

impl Drop for WorkerThread {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.workers -= 1;
        if waiting.workers == 0 {
            // Also after a panic: pending requests fail at once.
            waiting.next.clear();
            waiting.others.clear();
        }
    }
}

fn work(worker: &WorkerThread, model: &SharedModel) {
    let (lanes, mut scratch) = (Lanes::best(), Scratch::default());
    while let Some(job) = worker.0.take() {
        if !job.answer.is_closed() {
            // Nobody may wait any more by now.
            let _ = job.answer.send(model.embed(lanes, &job.text, &mut scratch));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::MiniLm;
    use super::*;
    use futures_util::FutureExt;
    use guestbook_core::ModelId;
    use guestbook_embed::Embedder;

    /// Workers without a thread: the test takes what is asked.
    fn nobody() -> (Workers, WorkerThread) {
        let line = Arc::<JobQueue>::default();
        let worker = line.worker();
        (Workers { line, count: 1 }, worker)
    }

    #[test]
    fn what_somebody_waits_for_goes_before_a_page_of_messages() {
        let (workers, worker) = nobody();
        let minilm = MiniLm {
            model: ModelId::new("minilm", 4, &[0; 32]),
            dimension: 4,
            workers,
        };
        let mut pages = [&["message 1", "message 2"], &["message 3", "message 4"]]
            .map(|page| minilm.embed(page));
        let mut questions = ["question 1", "question 2"].map(|text| minilm.embed_next(text));
        for page in &mut pages {
            assert!(page.now_or_never().is_none(), "nobody works yet");
        }
        for question in &mut questions {
            assert!(question.now_or_never().is_none(), "nobody works yet");
        }
        let taken: Vec<_> = std::iter::from_fn(|| worker.0.take()).take(4).collect();
        let taken: Vec<_> = taken.iter().map(|job| job.text.as_str()).collect();
        assert_eq!(
            taken,
            ["question 1", "question 2", "message 1", "message 3"]
        );
    }

    #[tokio::test]
    async fn where_nobody_works_any_more_all_are_told() {
        let (workers, worker) = nobody();
        let mut waiting = Box::pin(workers.ask(Priority::Waiting, "a message"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(worker);
        for answer in [
            waiting.await,
            workers.ask(Priority::Next, "a question").await,
        ] {
            let cause = answer.map_err(|cause| cause.to_string());
            assert!(cause.is_err_and(|cause| cause.contains("no worker")));
        }
    }

    #[test]
    fn workers_end_when_nobody_can_ask_any_more() {
        let (workers, worker) = nobody();
        drop(workers);
        assert!(worker.0.take().is_none());
    }
}
