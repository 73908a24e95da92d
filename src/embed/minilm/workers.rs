//! Threads that run the model, so that nothing else waits for it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use guestbook_kernel::Lanes;
use tokio::sync::oneshot;

use super::Model;
use super::encoder::Scratch;
use crate::chat::Vector;
use crate::embed::EmbedError;

type Answer = Result<Option<Vector>, EmbedError>;

struct Job {
    text: String,
    answer: oneshot::Sender<Answer>,
}

/// The workers; they end when this is dropped.
pub(super) struct Workers {
    jobs: Sender<Job>,
    count: usize,
}

impl Workers {
    /// Half the cores, so that requests have the other half; at least one.
    pub(super) fn start(model: Model) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let wanted = (cores / 2).max(1);
        let (jobs, queue) = channel();
        let (queue, model) = (Arc::new(Mutex::new(queue)), Arc::new(model));
        let start = |_: &usize| {
            let (queue, model) = (Arc::clone(&queue), Arc::clone(&model));
            let thread = thread::Builder::new().name("minilm".to_owned());
            thread.spawn(move || work(&queue, &model)).is_ok()
        };
        // Where no thread can be started at all, asking says so.
        let count = (0..wanted).filter(start).count();
        Self { jobs, count }
    }

    pub(super) fn count(&self) -> usize {
        self.count.max(1)
    }

    /// The vector of a text. Nothing is queued before it is polled.
    pub(super) fn ask(&self, text: &str) -> impl Future<Output = Answer> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        let (jobs, text) = (self.jobs.clone(), text.to_owned());
        async move {
            let gone = || EmbedError::Permanent {
                cause: "no worker of the model minilm is running; restart guestbook".to_owned(),
            };
            jobs.send(Job { text, answer }).map_err(|_| gone())?;
            drop(jobs);
            answered.await.map_err(|_| gone())?
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>, model: &Model) {
    let (lanes, mut scratch) = (Lanes::best(), Scratch::default());
    loop {
        // Whoever has the lock waits for the next job; the others wait for the lock.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if !job.answer.is_closed() {
            // Nobody may wait any more by now.
            let _ = job.answer.send(model.embed(lanes, &job.text, &mut scratch));
        }
    }
}
