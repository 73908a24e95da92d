//! A disk that takes its time: every wait for it is drawn out from outside, by strace, on a node that has everything on it.
//!
//! Seen to fail: with a `request_timeout` that messages did not heed it said `a request took 8.007164769s`.

use crate::adverse::footprint::Footprint;
use crate::adverse::words::{program, stopped};
use guestbook_testkit::oracle::{Load, Nodes, OnDisk, Oracle, Plan, within};
use guestbook_testkit::process::{Place, Running};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a request may take, and what a busy machine and a traced process add to it.
const LIMIT: Duration = Duration::from_millis(5_000 + 1_500);

fn strace() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("strace"));
    program(
        "strace",
        "strace",
        found.into_iter().find(|file| file.is_file()),
    )
}

/// Draws out every wait for the disk until it is dropped.
struct SlowDisk(Child);

impl SlowDisk {
    fn begin(strace: &PathBuf, node: &Running, by: Duration) -> Self {
        let inject = format!("inject=fdatasync,fsync:delay_enter={}", by.as_micros());
        let mut command = Command::new(strace);
        command.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fdatasync,fsync",
        ]);
        command.args(["-e", &inject, "-p", &node.id().to_string()]);
        let slow = Self(command.stdin(Stdio::null()).spawn().unwrap());
        let tracer = format!("TracerPid:\t{}", slow.0.id());
        let status = format!("/proc/{}/status", node.id());
        let since = Instant::now();
        while !std::fs::read_to_string(&status).unwrap().contains(&tracer) {
            assert!(
                since.elapsed() < Duration::from_secs(20),
                "strace never takes hold"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        slow
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // It lets go of the process when it is asked to end; killed, it would take the process along.
        let id = self.0.id().to_string();
        let _ = Command::new("kill").args(["-s", "INT", &id]).status();
        let _ = self.0.wait();
    }
}

/// Goes through a time of slow waits under load, and is as before afterwards.
async fn endure(strace: &PathBuf, by: Duration, lasts: Duration) {
    let place = Place::new();
    let node = tokio::task::block_in_place(|| place.serve());
    let oracle = Arc::new(Oracle::default());
    let plan = Plan {
        clients: 32,
        guests: 16,
        requests: usize::MAX,
        pause: Duration::from_millis(10),
    };
    let load = Load::start(&oracle, &Nodes::of(&[&node]), plan);
    oracle.progress(300).await;
    let base = Footprint::of(&node);
    let before = {
        let mut book = oracle.book();
        book.slowest = Duration::ZERO;
        book.saved
    };
    let slow = tokio::task::block_in_place(|| SlowDisk::begin(strace, &node, by));
    tokio::time::sleep(lasts).await;
    tokio::task::block_in_place(|| drop(slow));
    let (saved, since) = (oracle.book().saved - before, Instant::now());
    oracle.progress(1).await;
    let served = since.elapsed();
    oracle.progress(200).await;
    load.finish().await;
    let (slowest, unavailable) = {
        let book = oracle.book();
        (book.slowest, book.unavailable)
    };
    let (back, now) = Footprint::until_back(&node, &base).await;
    println!(
        "figure: {by:?} more for every wait for the disk, for {lasts:?} under 32 clients: {saved} saved meanwhile, {unavailable} × 503, slowest answer {slowest:.2?}, as fast as before after {served:.2?}; held {base}, and {back:.1?} after the load {now}"
    );
    assert!(slowest < within(LIMIT), "a request took {slowest:?}");
    oracle
        .assert_clean(&OnDisk::new(&place, &node), &[&node.client])
        .await;
    stopped(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_makes_answers_late_and_nothing_else() {
    if let Some(strace) = strace() {
        endure(&strace, Duration::from_millis(200), Duration::from_secs(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_slower_than_a_request_may_be_is_answered_with_503_in_time() {
    if let Some(strace) = strace() {
        endure(&strace, Duration::from_secs(6), Duration::from_secs(7)).await;
    }
}
