//! The strings of a faulty store: which calls fail, wait or are refused, and what was called.

use guestbook::core::error::{Error, ErrorKind, Result};
use std::future::Future;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Every call of every store of a harness, in the order in which they began: store and method.
pub type Log = Arc<Mutex<Vec<(&'static str, &'static str)>>>;

/// On which side of the effect a call fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// Nothing happens.
    Before,
    /// It happens, and the answer is an error: the outcome is not known to the caller.
    After,
    /// Nothing happens but a panic.
    Never,
}

/// Which calls a fault is about.
#[derive(Clone, Debug)]
enum Which {
    /// The call with this number, counted from 0 since the fault was set.
    Nth(usize),
    /// Every call from this number on.
    From(usize),
    /// Every call of these methods.
    Methods(&'static [&'static str]),
}

#[derive(Clone, Debug)]
struct Fault {
    which: Which,
    kind: ErrorKind,
    when: When,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    calls: usize,
    fired: usize,
    held: &'static [&'static str],
    fatal: Option<Error>,
}

/// The strings of one store.
#[derive(Debug)]
pub struct Control {
    store: &'static str,
    log: Log,
    state: Mutex<State>,
    /// Changes whenever what is held changes.
    gate: watch::Sender<u64>,
}

impl Control {
    pub fn new(store: &'static str, log: Log) -> Arc<Self> {
        Arc::new(Self {
            store,
            log,
            state: Mutex::default(),
            gate: watch::channel(0).0,
        })
    }

    /// Fails one call, the nth from now.
    pub fn fail_nth(&self, nth: usize, kind: ErrorKind, when: When) {
        self.set(Which::Nth(nth), kind, when);
    }

    /// Fails every call after the next `calls` ones.
    pub fn fail_from(&self, calls: usize, kind: ErrorKind, when: When) {
        self.set(Which::From(calls), kind, when);
    }

    /// Fails every call of these methods.
    pub fn fail_methods(&self, methods: &'static [&'static str], kind: ErrorKind, when: When) {
        self.set(Which::Methods(methods), kind, when);
    }

    /// Lets every call succeed again; how many have failed.
    pub fn lift(&self) -> usize {
        let mut state = self.state.lock().unwrap();
        state.fault = None;
        state.fired
    }

    /// As [`Self::lift`], and forgets them: how many have failed since the last time.
    pub fn lift_all(&self) -> usize {
        let mut state = self.state.lock().unwrap();
        state.fault = None;
        std::mem::take(&mut state.fired)
    }

    /// Says from now on that the store must not be used any more.
    pub fn poison(&self, reason: Error) {
        self.state.lock().unwrap().fatal = Some(reason);
    }

    /// Why the store must not be used any more.
    pub fn fatal(&self) -> Option<Error> {
        self.state.lock().unwrap().fatal.clone()
    }

    /// Makes calls of these methods wait before their effect.
    pub fn hold(&self, methods: &'static [&'static str]) {
        self.state.lock().unwrap().held = methods;
    }

    /// Lets go of what waits, and of what comes.
    pub fn release(&self) {
        self.state.lock().unwrap().held = &[];
        self.gate.send_modify(|turn| *turn += 1);
    }

    /// Calls since the last fault was set, or ever.
    pub fn calls(&self) -> usize {
        self.state.lock().unwrap().calls
    }

    /// How often a method has been called.
    pub fn count(&self, method: &str) -> usize {
        let log = self.log.lock().unwrap();
        let ours = |call: &&(&str, &str)| **call == (self.store, method);
        log.iter().filter(ours).count()
    }

    /// A call: noted, held, failed as the strings say.
    pub async fn pass<T>(
        &self,
        method: &'static str,
        effect: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.log.lock().unwrap().push((self.store, method));
        let fault = self.fault_of(method);
        let mut gate = self.gate.subscribe();
        while self.state.lock().unwrap().held.contains(&method) {
            gate.changed().await.expect("the control lives");
        }
        match fault {
            None => effect.await,
            Some((kind, When::Before)) => Err(self.error(kind, method)),
            Some((kind, When::After)) => match effect.await {
                Ok(_) => Err(self.error(kind, method)),
                failed => failed,
            },
            Some((_, When::Never)) => panic!("{method}: made to panic by a test"),
        }
    }

    fn fault_of(&self, method: &str) -> Option<(ErrorKind, When)> {
        let mut state = self.state.lock().unwrap();
        let number = state.calls;
        state.calls += 1;
        let fault = state.fault.clone()?;
        let hit = match fault.which {
            Which::Nth(nth) => number == nth,
            Which::From(first) => number >= first,
            Which::Methods(methods) => methods.contains(&method),
        };
        state.fired += usize::from(hit);
        hit.then_some((fault.kind, fault.when))
    }

    fn set(&self, which: Which, kind: ErrorKind, when: When) {
        let mut state = self.state.lock().unwrap();
        state.fault = Some(Fault { which, kind, when });
        (state.calls, state.fired) = (0, 0);
    }

    fn error(&self, kind: ErrorKind, method: &'static str) -> Error {
        Error::new(kind, self.store, method, "made to fail by a test")
    }
}
