//! A thousand clients that never end: heads and bodies that trickle, and bodies that stop just before their end.
//!
//! Seen to fail: with two hours for a head it said `a client was there for
//! 10.006520069s`; with connections that may stall for ever, of answers that nobody takes, `25 files are open, 21 were`; with a
//! budget of bodies eight times as large, of greedy ones, `152.1 MiB` to `450.2 MiB`, the less the busier the machine was; with
//! bodies that grew on the heap to 128 KiB, 137 to 160 MiB on a busy machine and up to 209 on a quiet one. Without any of these it
//! is 84 to 106.

use crate::crowd::{ALLOWED, CLIENTS, Crowd, IN_TIME, Way, insist};
use crate::row::{HELLO, post};
use crate::wire::Wire;
use guestbook_testkit::process::{Place, Running};
use guestbook_testkit::resources::{Taken, mib};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The default of `--body-memory`.
const BODY_MEMORY: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_heads_keep_nobody_waiting_and_are_closed_in_time() {
    let grown = Siege::new().hold("slow heads", Way::Head).await;
    assert!(grown < 2 * BODY_MEMORY, "{}", mib(grown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_bodies_keep_nobody_waiting_and_are_closed_in_time() {
    let grown = Siege::new().hold("slow bodies", Way::Body).await;
    assert!(grown < 2 * BODY_MEMORY, "{}", mib(grown));
}

/// All of them together would be 8 GB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_greedy_bodies_take_no_more_than_the_budget_and_keep_nobody_waiting() {
    let grown = Siege::new().hold("greedy bodies", Way::Greed).await;
    assert!(grown < 2 * BODY_MEMORY, "{}", mib(grown));
}

/// A server with many clients around it.
pub(crate) struct Siege {
    _place: Place,
    pub(crate) node: Running,
    pub(crate) taken: Taken,
}

impl Siege {
    pub(crate) fn new() -> Self {
        Self::with_patience("2s")
    }

    /// A server that waits so long for a client that takes or gives nothing.
    pub(crate) fn with_patience(patience: &str) -> Self {
        allow_files();
        let place = Place::new();
        let command = place.command(&[
            "--listen",
            "127.0.0.1:0",
            "--header-timeout",
            "2s",
            "--body-timeout",
            patience,
        ]);
        let node = tokio::task::block_in_place(|| Running::start(command));
        let taken = Taken(node.id());
        // What any use of it takes is no growth.
        tokio::task::block_in_place(|| warm(node.client.address));
        Self {
            _place: place,
            node,
            taken,
        }
    }

    /// Lets every client have its way until it is closed; by how many bytes the memory of the server was larger at most.
    async fn hold(self, what: &str, way: Way) -> u64 {
        self.taken.forget_peak();
        let (base, address) = (self.taken.peak(), self.node.client.address);
        let files = self.taken.files_at_rest().await;
        let crowd = Arc::new(Crowd::default());
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(insist(address, way, Arc::clone(&crowd)));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let others = tokio::task::spawn_blocking({
            let (stop, crowd) = (Arc::clone(&stop), Arc::clone(&crowd));
            move || others(address, &stop, &crowd)
        });
        let mut longest = Duration::ZERO;
        while let Some(stayed) = clients.join_next().await {
            longest = longest.max(stayed.unwrap());
        }
        stop.store(true, Ordering::Relaxed);
        let served = others.await.unwrap();
        let grown = self.taken.peak().saturating_sub(base);
        println!(
            "figure: {CLIENTS} {what}: others served {} times, {} of them while most were there, slowest {:.0?}; the last was closed \
             after {longest:.1?}; memory grew by {} over {}",
            served.times,
            served.amid_most,
            served.slowest,
            mib(grown),
            mib(base)
        );
        assert!(
            served.amid_most > 0,
            "nobody was served while most of them were there"
        );
        assert!(
            longest < ALLOWED + IN_TIME,
            "a client was there for {longest:?}"
        );
        self.let_go(files).await;
        tokio::task::block_in_place(|| self.node.stop());
        grown
    }

    /// Every connection is given back.
    pub(crate) async fn let_go(&self, files: usize) {
        let since = Instant::now();
        while self.taken.files() > files {
            assert!(
                since.elapsed() < IN_TIME,
                "{} files are open, {files} were",
                self.taken.files()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Both ends of a connection are files.
pub(crate) fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, wanted).unwrap();
}

fn warm(address: SocketAddr) {
    for _ in 0..20 {
        let mut wire = Wire::open(address);
        for _ in 0..20 {
            say(&mut wire);
        }
    }
}

fn say(wire: &mut Wire) {
    wire.send(post("other", "", HELLO).as_bytes());
    let reply = wire.reply(false).expect("an answer to someone else");
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// What others saw.
struct ServedClients {
    times: usize,
    amid_most: usize,
    slowest: Duration,
}

/// Good clients, each on a new connection; all of them must be served.
fn others(address: SocketAddr, stop: &AtomicBool, crowd: &Crowd) -> ServedClients {
    let mut served = ServedClients {
        times: 0,
        amid_most: 0,
        slowest: Duration::ZERO,
    };
    while !stop.load(Ordering::Relaxed) {
        let (since, was_large) = (Instant::now(), crowd.is_large());
        let mut wire = Wire::open(address);
        say(&mut wire);
        say(&mut wire);
        served.times += 1;
        if was_large && crowd.is_large() {
            served.amid_most += 1;
            crowd.was_passed.store(true, Ordering::Relaxed);
        }
        served.slowest = served.slowest.max(since.elapsed());
        std::thread::sleep(Duration::from_millis(5)); // or it would be a load, not a witness
    }
    served
}
