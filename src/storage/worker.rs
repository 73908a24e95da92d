//! Threads that own what must not cross threads (connections, a sled handle) and run closures on it.
//!
//! The async side never blocks: a call is queued, runs on the worker's thread, and replies over a oneshot. A panic on a worker
//! poisons it, because the state it owned may be half changed; every later call fails with the reason.

use guestbook_core::error::{Error, ErrorKind, Result, panic_text};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

type WorkerJob<T> = Box<dyn FnOnce(&mut T) + Send>;

/// The reason why a store must not be used any more, shared by its threads and its users. Set once.
#[derive(Clone, Debug, Default)]
pub struct Poison(Arc<OnceLock<Error>>);

impl Poison {
    /// Fails every later call with `cause`. For failures after which the state on disk is unknown.
    pub fn set(&self, cause: Error) {
        // The first cause is the one to report. It is set before it is logged.
        if self.0.set(cause.clone()).is_ok() {
            tracing::error!(backend = cause.backend(), %cause, "store poisoned: nothing more is acknowledged until a restart");
        }
    }

    /// Fails with the reason, if there is one.
    pub fn check(&self) -> Result<()> {
        match self.0.get() {
            Some(cause) => Err(cause.clone()),
            None => Ok(()),
        }
    }
}

/// Spawns a thread that the store depends on: its panic poisons the store.
pub fn spawn_essential(
    name: String,
    backend: &'static str,
    poison: Poison,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>> {
    let context = format!("the thread {name} could not be started");
    let run = move || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            poison.set(panicked(backend, panic.as_ref()));
        }
    };
    let thread = std::thread::Builder::new().name(name).spawn(run);
    thread.map_err(|cause| Error::caused(ErrorKind::Unavailable, backend, "open", context, cause))
}

fn panicked(backend: &'static str, panic: &(dyn std::any::Any + Send)) -> Error {
    let context = format!("its thread panicked: {}", panic_text(panic));
    Error::new(ErrorKind::Unavailable, backend, "work", context)
}

/// One or more threads, each with its own `T`, taking jobs from one bounded queue.
pub struct Worker<T> {
    backend: &'static str,
    /// Taken by `close`: no job can be sent then.
    jobs: Mutex<Option<mpsc::Sender<WorkerJob<T>>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    poison: Poison,
}

impl<T: 'static> Worker<T> {
    /// Starts one thread per element of `states`; `queue` is the capacity in jobs.
    pub fn spawn(
        backend: &'static str,
        role: &str,
        queue: usize,
        poison: Poison,
        states: Vec<T>,
    ) -> Result<Self>
    where
        T: Send,
    {
        let (jobs, waiting) = mpsc::channel::<WorkerJob<T>>(queue);
        let waiting = Arc::new(Mutex::new(waiting));
        let start = |(index, state): (usize, T)| {
            let (waiting, on_panic) = (Arc::clone(&waiting), poison.clone());
            let work = move || run(backend, state, &waiting, &on_panic);
            spawn_essential(
                format!("{backend}-{role}-{index}"),
                backend,
                poison.clone(),
                work,
            )
        };
        let threads = states
            .into_iter()
            .enumerate()
            .map(start)
            .collect::<Result<_>>()?;
        Ok(Self {
            backend,
            jobs: Mutex::new(Some(jobs)),
            threads: Mutex::new(threads),
            poison,
        })
    }

    /// Runs `work` on a worker's thread and returns its result. Queued work runs even if the caller goes away.
    pub async fn call<R: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut T) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (reply, result) = oneshot::channel();
        let jobs = self.jobs(operation)?;
        let job: WorkerJob<T> = Box::new(move |state| {
            // The caller may have gone away.
            let _ = reply.send(work(state));
        });
        let sent = jobs.send(job).await;
        sent.map_err(|_| self.gone(operation, "its thread has ended"))?;
        self.answered(operation, result).await
    }

    /// A permit of the queue, if one is free and the store is usable.
    pub fn try_reserve(&self) -> Option<QueuePermit<T>> {
        self.jobs("reserve")
            .ok()?
            .try_reserve_owned()
            .ok()
            .map(QueuePermit)
    }

    /// Waits for a permit of the queue.
    pub async fn reserve(&self, operation: &'static str) -> Result<QueuePermit<T>> {
        let place = self.jobs(operation)?.reserve_owned().await;
        place
            .map(QueuePermit)
            .map_err(|_| self.gone(operation, "its thread has ended"))
    }

    /// Waits for the reply of a job sent with a [`QueuePermit`].
    pub async fn answered<R>(
        &self,
        operation: &'static str,
        result: oneshot::Receiver<Result<R>>,
    ) -> Result<R> {
        result.await.unwrap_or_else(|_| {
            Err(self.gone(operation, "its thread panicked; see the log, then restart"))
        })
    }

    fn jobs(&self, operation: &'static str) -> Result<mpsc::Sender<WorkerJob<T>>> {
        self.poison.check()?;
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = jobs.clone();
        jobs.ok_or_else(|| self.gone(operation, "the store has been closed"))
    }

    /// Finishes queued work, drops the state and waits for the threads.
    pub async fn close(&self) {
        drop(
            self.jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().for_each(|thread| drop(thread.join()))
        })
        .await;
        if let Err(cause) = joined {
            tracing::error!(backend = self.backend, %cause, "waiting for the store's threads failed");
        }
    }

    /// The failure of a worker's thread, if one has panicked.
    pub fn fatal(&self) -> Option<Error> {
        self.poison.check().err()
    }

    fn gone(&self, operation: &'static str, context: &str) -> Error {
        let fallback = || Error::new(ErrorKind::Unavailable, self.backend, operation, context);
        self.poison.check().err().unwrap_or_else(fallback)
    }
}

/// A permit of a worker's queue.
pub struct QueuePermit<T>(mpsc::OwnedPermit<WorkerJob<T>>);

impl<T> QueuePermit<T> {
    /// Queues `work` on this permit. If the store is poisoned before the work runs, the work is dropped.
    pub fn run(self, work: impl FnOnce(&mut T) + Send + 'static) {
        drop(self.0.send(Box::new(work)));
    }
}

impl<T> std::fmt::Debug for Worker<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

fn run<T>(
    backend: &'static str,
    mut state: T,
    waiting: &Mutex<mpsc::Receiver<WorkerJob<T>>>,
    poison: &Poison,
) {
    loop {
        // One idle thread waits inside the lock, the others for the lock: the thread that gets a job releases the lock.
        let job = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        let Some(job) = job else { return };
        if poison.check().is_err() {
            continue; // dropping the job replies with the reason
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(&mut state))) {
            poison.set(panicked(backend, panic.as_ref()));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_poisons_and_the_reason_stays() {
        let worker = Worker::spawn("test", "writer", 4, Poison::default(), vec![0_u32]).unwrap();
        assert_eq!(
            worker
                .call("add", |n| {
                    *n += 1;
                    Ok(*n)
                })
                .await
                .unwrap(),
            1
        );
        let panicked: Result<()> = worker.call("break", |_| panic!("torn")).await;
        assert_eq!(panicked.unwrap_err().kind(), ErrorKind::Unavailable);
        let later = worker.call("add", |n| Ok(*n)).await.unwrap_err();
        assert!(later.to_string().contains("panicked"), "{later}");
        worker.close().await;
    }

    #[tokio::test]
    async fn a_thread_that_ends_by_any_other_panic_is_known_as_well() {
        struct Torn;
        impl Drop for Torn {
            fn drop(&mut self) {
                panic!("on purpose");
            }
        }
        let worker = Worker::spawn("test", "writer", 4, Poison::default(), vec![Torn]).unwrap();
        assert!(worker.fatal().is_none());
        worker.close().await;
        assert!(worker.fatal().is_some());
        let poison = Poison::default();
        let watch = || panic!("on purpose");
        let thread = spawn_essential("watch".into(), "test", poison.clone(), watch).unwrap();
        thread.join().unwrap();
        assert!(poison.check().is_err());
    }

    #[tokio::test]
    async fn close_lets_queued_work_finish_and_refuses_the_rest() {
        let worker = Worker::spawn("test", "writer", 4, Poison::default(), vec![0_u32]).unwrap();
        worker
            .call("add", |n| {
                *n += 1;
                Ok(())
            })
            .await
            .unwrap();
        worker.close().await;
        assert!(worker.call("add", |n| Ok(*n)).await.is_err());
    }
}
