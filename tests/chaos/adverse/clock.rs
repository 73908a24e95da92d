//! The clock jumps under load, an hour and a day ahead and back: nothing is lost, sequences go on, and no list goes before it was
//! said to.
//!
//! libfaketime puts the wall clock of the server process where a file says; the time that passes is left alone, and the
//! clocks of PostgreSQL, Redis and `guestbook verify` stay right.
//!
//! Seen to fail: when each message set the life of its list by its own time alone, it said `guest-0: promised until
//! 2026-11-27T16:39:40.503Z, then until 2026-11-27T15:39:41.215Z, at +0 s`.

use crate::adverse::words::{program, stopped, until_verified};
use guestbook::core::Timestamp;
use guestbook_testkit::oracle::{Load, Nodes, Oracle, Plan, Stores};
use guestbook_testkit::pair::Pair;
use guestbook_testkit::process::Running;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const HOUR: i64 = 3_600;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Where the wall clock of a process is put.
#[derive(Debug)]
pub(crate) struct Wall {
    library: PathBuf,
    file: PathBuf,
}

impl Wall {
    /// A clock that is right so far; `None` where it cannot be moved.
    pub(crate) fn of(pair: &Pair) -> Option<Self> {
        let folders = fs::read_dir("/usr/lib").unwrap().flatten();
        let libraries = folders.map(|it| it.path().join("faketime/libfaketimeMT.so.1"));
        let found = libraries.into_iter().find(|file| file.is_file());
        let wall = Self {
            library: program("libfaketime", "faketime", found)?,
            file: pair.place.path().join("wall"),
        };
        wall.put(0);
        Some(wall)
    }

    /// Starts a server by this clock.
    pub(crate) fn serve(&self, pair: &Pair) -> Running {
        let mut command: Command = pair.command(&["--listen", "127.0.0.1:0"]);
        command.env("LD_PRELOAD", &self.library);
        command.env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_NO_CACHE", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        pair.start(command)
    }

    /// Puts it so many seconds ahead of the right time, or behind.
    pub(crate) fn put(&self, ahead: i64) {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{ahead:+}\n")).unwrap();
        fs::rename(next, &self.file).unwrap();
    }
}

/// The first sequence of each guest's list, and until when it lives.
async fn windows(pair: &Pair) -> BTreeMap<String, (String, Timestamp)> {
    let sql = "SELECT user_id, list_from, list_expires_at FROM conversation_cache WHERE platform = 'guest'";
    let rows = pair.query(sql).await.into_iter();
    let window = |cells: Vec<String>| {
        let [guest, from, until] = cells.try_into().unwrap();
        // PostgreSQL's text of a time, and SQLite's.
        let until = until.replace(' ', "T").replace("+00", "Z");
        (guest, (from, Timestamp::parse(&until).unwrap()))
    };
    rows.map(window).collect()
}

/// Under load with the clock in each of these places, one after the other.
async fn jump(mut pair: Pair) {
    let Some(wall) = Wall::of(&pair) else { return };
    // Lists outlive every jump, so that each has to be whole in the end; and what has expired is removed at once.
    pair.settings = vec!["--list-ttl", "60h", "--sweep-interval", "400ms"];
    let node = wall.serve(&pair);
    let (oracle, nodes) = (Arc::new(Oracle::default()), Nodes::of(&[&node]));
    let load = Load::start(
        &oracle,
        &nodes,
        Plan {
            requests: usize::MAX,
            ..Plan::light()
        },
    );
    oracle.progress(100).await;
    let (since, mut promised, mut jumps) = (Instant::now(), windows(&pair).await, 0);
    for ahead in [HOUR, 0, -HOUR, 0, DAY, 0, -DAY, 0] {
        wall.put(ahead);
        jumps += 1;
        tokio::time::sleep(Duration::from_millis(600)).await; // a sweep passes
        oracle.progress(60).await;
        until_verified(&node.client).await;
        let now = windows(&pair).await;
        for (guest, (_, until)) in &promised {
            let (from, lives) = &now[guest];
            assert_eq!(from, "0", "{guest}: the list was begun anew at {ahead:+} s");
            assert!(
                lives >= until,
                "{guest}: promised until {until}, then until {lives}, at {ahead:+} s"
            );
        }
        promised = now;
    }
    load.finish().await;
    oracle.assert_clean(&pair, &[&node.client]).await;
    println!(
        "figure: the clock jumped {jumps} times under load on {}, by an hour and a day ahead and back, in {:.1?}: {} saved, 0 lost, no list gone or cut short, verify 0 after each",
        pair.list_store(),
        since.elapsed(),
        oracle.book().saved
    );
    let log = stopped(node);
    assert!(log.contains("clock jump detected"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_loses_nothing_and_ends_no_list_early_on_sqlite_and_sled() {
    jump(Pair::sqlite_sled().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_loses_nothing_and_ends_no_list_early_on_postgres_and_redis() {
    jump(Pair::postgres_redis().await).await;
}
