//! The process is aborted at every place that `src/failpoint/lib.rs` names, on every pair of stores, the first time that the
//! place is reached and a later time: what was answered as saved is there, whole, once, and every store agrees.
//!
//! A defect that it catches when it is put in: no mending at the start (`reconcile_loop` waits for the stop). The lists of the
//! first aborted place never mark as synced, and `replay.mid` is never reached ("the process did not end").

use guestbook::failpoint;
use guestbook_testkit::oracle::{Dice, Load, Nodes, Oracle, Plan, Talker};
use guestbook_testkit::pair::Pair;
use guestbook_testkit::process::{Running, finish, stderr};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinHandle;

const SIGABRT: i32 = 6;
/// More often than a start comes to any place before it serves: on PostgreSQL it commits eight or nine times for its own books.
const BEFORE_SERVING: u64 = 100;
/// Messages of one list, so many that it is rebuilt in several pages.
const LONG_LIST: usize = 1_200;

/// What must have happened before a place is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Need {
    /// A start on empty stores.
    Start,
    /// Clients at work.
    Load,
    /// A start on messages whose lists are gone.
    LostLists,
    /// Lists that are to live longer than they were made for.
    OtherLife,
    /// A start on messages of which the tables do not know that their lists have them.
    OutboxEntries,
}

fn need(place: &str) -> Need {
    match place {
        "schema.mid" | "open.after" => Need::Start,
        "replace.mid" => Need::LostLists,
        "replay.mid" => Need::OutboxEntries,
        "retime.mid" => Need::OtherLife,
        _ => Need::Load,
    }
}

/// A server that aborts when it has been `times` at the place.
fn armed(pair: &Pair, place: &str, times: u64) -> Command {
    let mut command = pair.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("FAILPOINTS", format!("{place}={times}*off->return"));
    command
}

/// A server that must abort before it serves.
fn abort_at_start(pair: &Pair, place: &str, times: u64) {
    let command = armed(pair, place, times);
    let output = tokio::task::block_in_place(|| finish(command));
    assert_eq!(output.status.signal(), Some(SIGABRT), "{}", stderr(&output));
}

/// A server that will abort when it has been `times` at the place, or a little later: what it does before it serves counts, too.
fn started(pair: &Pair, place: &str, times: u64) -> Running {
    for more in 0..BEFORE_SERVING {
        match pair.try_start(armed(pair, place, times + more)) {
            Ok(node) => return node,
            Err((status, log)) => assert_eq!(status.signal(), Some(SIGABRT), "{status}: {log}"),
        }
    }
    panic!("{place}: it aborts there {BEFORE_SERVING} times before it serves");
}

/// Changes the life of all lists, and aborts whoever carries it out: who has stores alone does so with a flag before it serves,
/// others by a command, or, where each node has its lists, once they serve.
fn abort_in_another_life(pair: &Pair, place: &str) {
    let failpoints = format!("{place}=return");
    let change = ["settings", "set", "list-ttl", "30h"];
    let mut command = match pair.is_shared() {
        true => pair.command(&change),
        false => pair.command(&["serve", "--listen", "127.0.0.1:0", "--list-ttl", "30h"]),
    };
    command.env("FAILPOINTS", &failpoints);
    let output = tokio::task::block_in_place(|| finish(command));
    let status = if pair.has_common_lists() || !pair.is_shared() {
        output.status
    } else {
        assert!(output.status.success(), "{}", stderr(&output));
        let mut command = pair.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("FAILPOINTS", &failpoints);
        match pair.try_start(command) {
            Ok(node) => tokio::task::block_in_place(|| node.ended()).0,
            Err((status, _)) => status,
        }
    };
    assert_eq!(status.signal(), Some(SIGABRT), "{}", stderr(&output));
}

/// Clients at work on a server until it aborts; they go on trying.
async fn abort_under_load(
    pair: &Pair,
    (place, times): (&str, u64),
    oracle: &Arc<Oracle>,
) -> (Load, JoinHandle<()>, Nodes) {
    let node = started(pair, place, times);
    let nodes = Nodes::of(&[&node]);
    let load = Load::start(oracle, &nodes, Plan::light());
    let mut talker = Talker::new(1000, oracle, &nodes);
    let others = tokio::spawn(async move {
        for round in 0..8 {
            talker.come_and_go(round).await;
        }
    });
    let (status, log) = tokio::task::block_in_place(|| node.ended());
    assert_eq!(status.signal(), Some(SIGABRT), "{status}: {log}");
    (load, others, nodes)
}

/// Brings a process to a place and ends it there; what is to be seen to once another one serves.
async fn end_at(
    pair: &Pair,
    place: &str,
    times: u64,
    oracle: &Arc<Oracle>,
) -> Option<(Load, JoinHandle<()>, Nodes)> {
    match need(place) {
        Need::Start => {
            abort_at_start(pair, place, times);
            None
        }
        Need::Load => Some(abort_under_load(pair, (place, times), oracle).await),
        Need::LostLists => {
            let node = pair.serve();
            let mut talker = Talker::new(0, oracle, &Nodes::of(&[&node]));
            for _ in 0..LONG_LIST / 600 {
                talker.say_together("talkative", 600, true).await;
            }
            tokio::task::block_in_place(|| node.kill());
            pair.empty_lists().await;
            abort_at_start(pair, place, times);
            None
        }
        Need::OtherLife => {
            let node = pair.serve();
            let mut talker = Talker::new(0, oracle, &Nodes::of(&[&node]));
            talker.say_together("talkative", 3, true).await;
            node.stop();
            abort_in_another_life(pair, place);
            None
        }
        Need::OutboxEntries => {
            let at_work = abort_under_load(pair, ("flush.before", 0), oracle).await;
            pair.empty_lists().await;
            abort_at_start(pair, place, times);
            Some(at_work)
        }
    }
}

async fn cell(pair: &mut Pair, place: &str, times: u64) {
    pair.renew().await;
    let oracle = Arc::new(Oracle::default());
    let at_work = end_at(pair, place, times, &oracle).await;
    let node = pair.serve();
    if let Some((load, others, nodes)) = at_work {
        nodes.set(0, &node);
        oracle.progress(30).await;
        others.await.unwrap();
        load.finish().await;
    }
    let mut talker = Talker::new(2000, &oracle, &Nodes::of(&[&node]));
    talker.come_and_go(0).await;
    oracle.assert_clean(pair, &[&node.client]).await;
    node.stop();
}

async fn every_place(mut pair: Pair, name: &str) {
    let (mut dice, since) = (Dice::thrown(), Instant::now());
    let mut cells = 0;
    for place in failpoint::NAMES {
        let later = (need(place) == Need::Load).then(|| 1 + dice.roll(5));
        for times in std::iter::once(0).chain(later) {
            println!("{name}: {place} after {times} times");
            cell(&mut pair, place, times).await;
            cells += 1;
        }
    }
    println!(
        "figure: crash matrix, {name}: {cells} cells, all clean, in {:.1?}",
        since.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_place_leaves_sqlite_sled_whole() {
    every_place(Pair::sqlite_sled().await, "sqlite+sled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_place_leaves_sqlite_redis_whole() {
    every_place(Pair::sqlite_redis().await, "sqlite+redis").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_place_leaves_postgres_sled_whole() {
    every_place(Pair::postgres_sled().await, "postgres+sled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_place_leaves_postgres_redis_whole() {
    every_place(Pair::postgres_redis().await, "postgres+redis").await;
}
