//! kill -9 under load, again and again: 32 clients, each process killed 50 to 2,000 ms after it has begun to serve.
//!
//! After every twentieth kill the oracle is compared with every store, and new stores are begun. `GUESTBOOK_TEST_SEED`
//! repeats a run; `GUESTBOOK_TEST_LONG` makes it ten times as long.
//!
//! Defects that it catches when they are put in:
//! - `PRAGMA journal_mode = MEMORY` (no journal on disk to undo half a commit): "the database file is damaged" after a few kills;
//! - no mending at the start (`reconcile_loop` waits for the stop): "the lists never mark as synced: divergent …".

use guestbook_testkit::oracle::{Dice, Load, Nodes, Oracle, Plan, Talker, rounds, within};
use guestbook_testkit::pair::Pair;
use guestbook_testkit::process::{Log, Running};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Kills between two comparisons.
const STRETCH: usize = 20;
const EARLIEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_millis(2_000);
/// What 95 % of the starts after a kill must keep to.
const READY: Duration = Duration::from_secs(2);

fn plan() -> Plan {
    Plan {
        clients: 32,
        guests: 40,
        requests: usize::MAX,
        pause: Duration::from_millis(10),
    }
}

/// What a run has seen.
#[derive(Debug, Default)]
struct Seen {
    kills: usize,
    saved: usize,
    unknown: usize,
    ready: Vec<Duration>,
    listed: Vec<Duration>,
}

impl Seen {
    fn print(&mut self, pair: &str) {
        let [ready, listed] = [&mut self.ready, &mut self.listed].map(|times| {
            times.sort_unstable();
            times.as_slice()
        });
        println!(
            "figure: kill -9, {pair}: {} kills, {} saved, {} unanswered; lost, changed, duplicated, phantom, misplaced, gaps, \
             out of order, half-written, list ≠ rows: 0; ready p50 {:.2?} p95 {:.2?} max {:.2?}; lists right again at most \
             {:.2?} later",
            self.kills,
            self.saved,
            self.unknown,
            share(ready, 50),
            share(ready, 95),
            share(ready, 100),
            share(listed, 100),
        );
    }
}

/// The value that so many percent do not exceed.
fn share(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

/// Starts a server and waits until it says that it is ready; how long that took.
async fn ready(pair: &Pair) -> (Running, Duration) {
    let since = Instant::now();
    let node = pair.serve();
    while node.client.get("/readyz").await.status != 200 {
        assert!(since.elapsed() < Duration::from_secs(60), "never ready");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (node, since.elapsed())
}

/// Guests who are deleted or sign up, until it is over.
async fn come_and_go(mut talker: Talker, over: Arc<AtomicBool>) {
    for round in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        talker.come_and_go(round).await;
    }
}

async fn stretch(pair: &Pair, kills: usize, dice: &mut Dice, seen: &mut Seen) {
    let (mut node, _) = ready(pair).await;
    let (oracle, nodes) = (Arc::new(Oracle::default()), Nodes::of(&[&node]));
    let over = Arc::new(AtomicBool::new(false));
    let load = Load::start(&oracle, &nodes, plan());
    let others = tokio::spawn(come_and_go(
        Talker::new(1000, &oracle, &nodes),
        Arc::clone(&over),
    ));
    for _ in 0..kills {
        tokio::time::sleep(dice.between(EARLIEST, LATEST)).await;
        tokio::task::block_in_place(|| node.kill());
        let (next, took) = ready(pair).await;
        nodes.set(0, &next);
        node = next;
        seen.ready.push(took);
        seen.kills += 1;
    }
    oracle.progress(100).await;
    over.store(true, Ordering::Relaxed);
    others.await.unwrap();
    load.finish().await;
    seen.listed.push(oracle.until_listed(pair).await);
    oracle.assert_clean(pair, &[&node.client]).await;
    seen.saved += oracle.book().saved;
    seen.unknown += oracle.book().died;
    node.stop();
}

async fn killed_again_and_again(pair: Pair, kills: usize, name: &str) {
    let slow = killed(pair, kills, name).await;
    assert!(slow < within(READY), "ready after {slow:?} (p95)");
}

/// How long 95 % of the starts took at most.
async fn killed(mut pair: Pair, kills: usize, name: &str) -> Duration {
    let (mut dice, mut seen) = (Dice::thrown(), Seen::default());
    while seen.kills < kills {
        let next = STRETCH.min(kills - seen.kills);
        stretch(&pair, next, &mut dice, &mut seen).await;
        pair.renew().await;
    }
    seen.print(name);
    share(&seen.ready, 95)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_sqlite_sled() {
    killed_again_and_again(Pair::sqlite_sled().await, rounds(20, 200), "sqlite+sled").await;
}

/// Nobody takes the log: `debug` fills whatever takes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whatever_becomes_of_the_log() {
    for log in Log::LOST {
        let mut pair = Pair::sqlite_sled().await;
        pair.settings = vec!["--log", "debug"];
        pair.log = log;
        let name = format!("sqlite+sled, log: {log:?}");
        killed(pair, rounds(2, 20), &name).await;
    }
}

/// Less durable means a power cut, not a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_with_durability_normal() {
    let mut pair = Pair::sqlite_sled().await;
    pair.settings = vec!["--durability", "normal"];
    killed_again_and_again(pair, rounds(5, 50), "sqlite+sled, durability normal").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_postgres_redis() {
    killed_again_and_again(
        Pair::postgres_redis().await,
        rounds(20, 200),
        "postgres+redis",
    )
    .await;
}
