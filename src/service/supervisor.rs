//! Supervises what the service cannot run without: its tasks, the threads of its stores, its listeners.
//!
//! A task that ends early has failed, however it ended: by a panic, by returning, or by being dropped. The failure is set
//! in the task's drop guard before it is logged, so that no observer can block it. From then on no request is accepted,
//! `readyz` returns 503, and the process exits with 70.

use super::Service;
use guestbook_core::error::{Error, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

/// How often the stores are polled for a fatal error: one of their threads may have ended by itself.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// The state of the tasks.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// Set once, by a failure after which nothing more may be acknowledged.
    fatal: watch::Sender<Option<Error>>,
    /// Set once, to end the tasks.
    stopping: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self {
            fatal: watch::channel(None).0,
            stopping: watch::channel(false).0,
            tasks: Mutex::default(),
        }
    }
}

/// Guard of a component that the service cannot run without. Dropping it unexpectedly fails the service.
#[derive(Debug)]
pub struct Essential {
    service: Service,
    name: &'static str,
    is_expected: Arc<AtomicBool>,
    panic: Option<JoinError>,
}

impl Essential {
    /// Once this flag is set, the end is expected. After the service's stop it always is.
    pub fn expectation(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_expected)
    }

    fn ended(&mut self, how: Result<(), JoinError>) {
        self.panic = how.err();
    }
}

impl Drop for Essential {
    fn drop(&mut self) {
        let context = |how| format!("the {} task {how}", self.name);
        let failure = match self.panic.take() {
            Some(cause) => {
                let context = context("panicked");
                Error::caused(ErrorKind::Internal, "service", "run", context, cause)
            }
            None if std::thread::panicking() => failed(context("panicked")),
            None if self.is_expected.load(Ordering::Acquire) || self.service.is_stopping() => {
                return;
            }
            None => failed(context("ended, which it must not")),
        };
        self.service.fail(failure);
    }
}

fn failed(context: String) -> Error {
    Error::new(ErrorKind::Internal, "service", "run", context)
}

impl Service {
    /// A guard for an essential component that the service does not run itself, such as a listener.
    pub fn essential(&self, name: &'static str) -> Essential {
        Essential {
            service: self.clone(),
            name,
            is_expected: Arc::default(),
            panic: None,
        }
    }

    /// Spawns a task that lives as long as the service.
    pub(super) fn run(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let mut essential = self.essential(name);
        self.tasks().spawn(async move {
            let ended = tokio::spawn(task).await;
            essential.ended(ended);
        });
    }

    /// Stops the tasks and waits until they have finished.
    pub(super) async fn end_tasks(&self) {
        self.0.supervisor.stopping.send_replace(true); // first: from here on an end is expected
        self.0.ingest.close();
        let mut tasks = std::mem::take(&mut *self.tasks());
        while tasks.join_next().await.is_some() {} // a panic is recorded already
    }

    /// Records a failure after which nothing more may be acknowledged. The first one stays.
    pub(super) fn fail(&self, failure: Error) {
        let is_first = self.0.supervisor.fatal.send_if_modified(|fatal| {
            let is_first = fatal.is_none();
            fatal.get_or_insert_with(|| failure.clone());
            self.0.ingest.close(); // before anyone can see the failure
            is_first
        });
        if is_first {
            tracing::error!(cause = %failure, "the service must not go on: nothing more is acknowledged until a restart");
        }
    }

    /// Waits for a fatal failure: one after which nothing more may be acknowledged.
    pub async fn fatal(&self) -> Error {
        let mut fatal = self.0.supervisor.fatal.subscribe();
        loop {
            let failure = fatal.borrow_and_update().clone();
            match failure {
                Some(failure) => return failure,
                // The sender lives as long as the service, so waiting can only end with a change.
                None => drop(fatal.changed().await),
            }
        }
    }

    /// The failure after which nothing more may be acknowledged, if any.
    pub fn failure(&self) -> Option<Error> {
        self.0.supervisor.fatal.borrow().clone()
    }

    /// Fails the service if a store reports a fatal error.
    pub(super) fn note_fatal(&self) {
        let (database, lists) = (&self.stores().backend, &self.0.parts.lists);
        if let Some(failure) = database.fatal().or_else(|| lists.fatal()) {
            self.fail(failure);
        }
    }

    /// Waits for `span`, or until the service stops; returns whether to go on.
    pub(super) async fn pause(&self, span: Duration) -> bool {
        tokio::select! {
            () = self.stopped() => false,
            () = tokio::time::sleep(span) => true,
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.0.supervisor.stopping.borrow()
    }

    /// Completes when the service stops.
    pub(super) async fn stopped(&self) {
        let mut stopping = self.0.supervisor.stopping.subscribe();
        // An error means that the sender was dropped, which is a stop as well.
        let _ = stopping.wait_for(|stop| *stop).await;
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        let tasks = self.0.supervisor.tasks.lock();
        tasks.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the stores, even if other tasks hang or fail.
pub(super) async fn watch_loop(service: Service) {
    while service.pause(WATCH_INTERVAL).await {
        service.note_fatal();
    }
}
