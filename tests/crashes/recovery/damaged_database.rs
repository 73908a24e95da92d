//! The tables are damaged while nobody has them: the service recovers, or refuses, or `guestbook verify` says what is wrong.
//! It is never silently wrong.
//!
//! What is promised, and no more:
//! - Damage to `guestbook.db`: everything answered is there and right; or the start is refused, or the server stops, with one line;
//!   or `verify` says what is wrong. The hash chain covers the words, the roles, the client's times and the order of every chat,
//!   and the counters what hangs on them. SQLite has no checksums over pages, so a changed byte in what nothing is
//!   computed from (a title, a vector, a mean) is not told from what was written.
//! - A damaged write-ahead log after a kill: SQLite takes it up to the last commit whose checksums are right. What is there then is
//!   one earlier state, whole: for each chat its first messages, as they were answered, and counters and lists that agree.
//!   The commits behind are lost, and no program could know of them: nothing else had them.
//! - A removed write-ahead log is the same, with nothing of it left. It looks like a clean stop.
//!
//! Defects put in, and what was printed (each was taken out again):
//! - a start that throws the write-ahead log away: `silently wrong in round 0: lost 72` of a killed database that nobody damaged.

use crate::recovery::damage::{Damage, End, Image};
use crate::recovery::harness::ended;
use guestbook_testkit::oracle::{Dice, Findings, KINDS, Nodes, OnDisk, Oracle, Talker, rounds};
use guestbook_testkit::process::{Place, Running, stderr, stdout};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const OF_STOPPED: [Damage; 9] = [
    Damage::Header,
    Damage::Schema,
    Damage::Messages,
    Damage::MessageIndex,
    Damage::Conversations,
    Damage::AnyPage,
    Damage::ZeroedPage,
    Damage::SwappedPages,
    Damage::CutFile,
];
const OF_KILLED: [Damage; 10] = [
    Damage::NoShm,
    Damage::FlippedShm,
    Damage::FlippedLog,
    Damage::CutLog,
    Damage::TornLog,
    Damage::NoLog,
    Damage::Header,
    Damage::AnyPage,
    Damage::Messages,
    Damage::CutFile,
];
/// How long lists may take to be what the tables say, before what `verify` finds counts.
const SETTLING: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Outcome {
    /// Everything answered is there and right.
    Whole,
    /// One earlier state is there and right.
    Earlier,
    /// It does not start, and says why.
    Refused,
    /// It stopped, and said why.
    Stopped,
    /// `verify` says what is wrong, or why it cannot look.
    Told,
}

/// A refusal or a stop: one line of ours, and no panic on the way.
fn assert_one_line(log: &str) {
    let ours = log.lines().filter(|line| line.starts_with("guestbook: "));
    assert_eq!(ours.count(), 1, "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

/// Ends a server that is well or has stopped by itself.
fn end(node: Running) -> Option<Outcome> {
    node.signal_if_there("TERM");
    let (status, log) = tokio::task::block_in_place(|| node.ended());
    match status.code() {
        Some(0) => {
            assert!(!log.contains("panicked"), "{log}");
            None
        }
        Some(70) => {
            assert_one_line(&log);
            Some(Outcome::Stopped)
        }
        code => panic!("it ended with {code:?}: {log}"),
    }
}

/// Whether `verify` finds all well once lists have had the time to follow; whatever it says is one clear answer.
async fn verified(place: &Place) -> bool {
    let since = Instant::now();
    loop {
        let output = ended(place.command(&["verify"]));
        let said = format!("{}{}", stdout(&output), stderr(&output));
        assert!(!said.contains("panicked"), "{said}");
        match output.status.code() {
            Some(0) => return true,
            Some(2) => return false,
            Some(1) if since.elapsed() > SETTLING => return false,
            Some(1) => tokio::time::sleep(Duration::from_millis(250)).await,
            code => panic!("verify ended with {code:?}: {said}"),
        }
    }
}

/// Faults that may not be where `verify` finds all well.
fn silent(found: &Findings, damage: Option<Damage>) -> usize {
    let may_be_lost = damage.is_some_and(Damage::is_of_log);
    let kinds = KINDS
        .iter()
        .filter(|kind| !(may_be_lost && **kind == "lost"));
    kinds.map(|kind| found.count(kind)).sum()
}

/// What came of a damage that was done to a place, or of none of [`Damage`].
pub(crate) async fn outcome(
    place: &Place,
    oracle: &Arc<Oracle>,
    damage: Option<Damage>,
) -> Outcome {
    let command = place.command(&["--listen", "127.0.0.1:0"]);
    let node = match tokio::task::block_in_place(|| Running::try_start(command)) {
        Ok(node) => node,
        Err((status, said)) => {
            assert_eq!(status.code(), Some(2), "{said}");
            assert_one_line(&said);
            return Outcome::Refused;
        }
    };
    let stores = OnDisk::new(place, &node);
    // Twice: what is written on top must not be silently wrong either.
    for round in 0..2 {
        if !verified(place).await {
            return end(node).unwrap_or(Outcome::Told);
        }
        oracle.until_listed(&stores).await;
        let found = oracle.findings(&stores, &[&node.client]).await;
        assert_eq!(
            silent(&found, damage),
            0,
            "silently wrong in round {round}: {found}"
        );
        let mut talker = Talker::new(900 + round, oracle, &Nodes::of(&[&node]));
        for guest in ["guest-0", "guest-1", "guest-2", "someone-new"] {
            talker.say(guest, true).await;
        }
        if !oracle.book().wrong.is_empty() {
            return end(node).unwrap_or(Outcome::Told); // the answer was an error
        }
    }
    let found = oracle.findings(&stores, &[]).await;
    end(node).unwrap_or(match found.count("lost") {
        0 => Outcome::Whole,
        _ => Outcome::Earlier,
    })
}

async fn never_silently_wrong(end: End, damages: &[Damage], count: usize) {
    let (mut dice, image) = (Dice::thrown(), Image::of(end).await);
    let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
    for damage in damages.iter().copied().cycle().take(count) {
        let (place, oracle) = image.copy();
        let what = damage.strike(&place.data(), &mut dice);
        println!("{end:?}: {damage:?}: {what}");
        let outcome = outcome(&place, &oracle, Some(damage)).await;
        println!("    {outcome:?}");
        *counts.entry(outcome).or_default() += 1;
    }
    println!("figure: database damaged after it was {end:?}, {count} times: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_database_that_is_damaged_is_never_silently_wrong() {
    never_silently_wrong(End::Stopped, &OF_STOPPED, rounds(12, 100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_that_is_damaged_is_never_silently_wrong() {
    never_silently_wrong(End::Killed, &OF_KILLED, rounds(12, 100)).await;
}

/// The control: without damage nothing is lost, refused or told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_that_is_not_damaged_is_whole() {
    let (place, oracle) = Image::of(End::Killed).await.copy();
    assert_eq!(outcome(&place, &oracle, None).await, Outcome::Whole);
}
