//! The list store is destroyed while nobody looks, in every way of [`crate::adverse::damage`]: the service starts all the same, sets
//! aside what it cannot read, and rebuilds the lists from the tables.
//!
//! Seen to fail: when the lists were not compared with the tables at the start, the stale copy was `never right: … the list lacks or
//! differs in 7 of its messages`; when damage was an error, there was `no banner: … sled panicked … duplicate segment LSN 0`.

use crate::adverse::damage::{Copies, Damage, copy, every};
use crate::adverse::words::{killed, percentile, stopped, until_ready, until_verified};
use guestbook_testkit::client::Client;
use guestbook_testkit::oracle::{Dice, Load, Nodes, OnDisk, Oracle, Plan, rounds};
use guestbook_testkit::process::{Place, Running, finish, stderr};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a start after the damage was like.
#[derive(Debug)]
struct Start {
    ready: Duration,
    rebuilt: Duration,
    /// Its first try was refused.
    refused: bool,
}

/// Damaged stores that lie beside the lists.
fn aside(data: &Path) -> Vec<String> {
    let names = fs::read_dir(data).unwrap().flatten();
    let names = names.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<_> = names
        .filter(|name| name.starts_with("lists.bad-"))
        .collect();
    names.sort();
    names
}

/// A list store of another database.
async fn foreign(place: &Place) {
    let node = place.serve();
    for number in 0..20 {
        let guest = format!("guest-{}", number % 4);
        node.client.say(&guest, "of another database").await;
    }
    stopped(node);
    stopped(tokio::task::block_in_place(|| place.serve()));
}

/// Some messages, so that the lists are not empty.
async fn speak(oracle: &Arc<Oracle>, client: &Running) {
    let load = Load::start(oracle, &Nodes::of(&[client]), Plan::light());
    oracle.progress(40).await;
    load.finish().await;
}

/// Starts after the damage. What a person has to look at may be refused, in one line, and is cleared away then.
fn start(place: &Place, damage: Damage) -> (Running, Duration, bool) {
    let refuses = damage.may_be_refused() && refused(place, damage);
    if refuses {
        Damage::clear(&place.data().join("lists"));
    }
    let since = Instant::now();
    let node = tokio::task::block_in_place(|| place.serve());
    (node, since.elapsed(), refuses)
}

/// Whether a start is refused, which must be said in one line that names the folder.
fn refused(place: &Place, damage: Damage) -> bool {
    let mut command = place.command(&["--listen", "127.0.0.1:0"]);
    // It ends by itself when it refuses, and by the alarm when it serves.
    let mut alarmed = std::process::Command::new("timeout");
    alarmed.args(["-s", "TERM", "2"]).arg(command.get_program());
    alarmed.args(command.get_args());
    alarmed.current_dir(place.path());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => alarmed.env(name, value),
            None => alarmed.env_remove(name),
        };
    }
    command.env_clear();
    let output = tokio::task::block_in_place(|| finish(alarmed));
    let said = stderr(&output);
    if output.status.code() != Some(2) {
        return false;
    }
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("guestbook: "))
        .collect();
    assert_eq!(lines.len(), 1, "{damage:?}: {said}");
    assert!(lines[0].contains("lists"), "{damage:?}: {said}");
    println!("{damage:?} refused: {}", lines[0]);
    true
}

/// Those that every run has, a panic of sled in `open` among them, and as many others as the form of the run has room for.
fn chosen(dice: &mut Dice) -> Vec<Damage> {
    let mut all = every();
    assert!(all.len() >= 50);
    dice.shuffle(&mut all);
    all.sort_by_key(|damage| damage.turn());
    all.truncate(rounds(16, all.len()));
    all
}

async fn recovery_times(client: &Client) -> (Duration, Duration) {
    (until_ready(client).await, until_verified(client).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_done_to_the_list_store_the_service_starts_and_no_message_is_lost() {
    let mut dice = Dice::thrown();
    let (place, other) = (Place::new(), Place::new());
    foreign(&other).await;
    let (lists, older) = (place.data().join("lists"), place.path().join("older"));
    let oracle = Arc::new(Oracle::default());
    let mut first = tokio::task::block_in_place(|| place.serve());
    for _ in 0..2 {
        speak(&oracle, &first).await;
        stopped(first);
        // Snapshots are made by the second start.
        first = tokio::task::block_in_place(|| place.serve());
    }
    stopped(first);
    copy(&lists, &older);
    let damages = chosen(&mut dice);
    let (mut starts, mut set_aside, mut panics) = (Vec::new(), 0, 0);
    let mut node;
    for (round, &damage) in damages.iter().enumerate() {
        node = tokio::task::block_in_place(|| place.serve());
        speak(&oracle, &node).await;
        match round % 2 {
            0 => drop(stopped(node)),
            _ => drop(killed(node)),
        }
        let before = aside(&place.data());
        let copies = Copies {
            older: &older,
            foreign: &other.data().join("lists"),
        };
        let struck = damage.strike(&lists, &copies, &mut dice);
        let (started, waited, refused) = start(&place, damage);
        node = started;
        let (ready, rebuilt) = recovery_times(&node.client).await;
        let moved = aside(&place.data())
            .iter()
            .filter(|it| !before.contains(it))
            .count();
        println!(
            "{damage:?}: struck {struck}, set aside {moved}, ready {waited:.0?}, right after {rebuilt:.0?} more"
        );
        let stores = OnDisk::new(&place, &node);
        oracle.assert_clean(&stores, &[&node.client]).await;
        starts.push(Start {
            ready: waited + ready,
            rebuilt,
            refused,
        });
        let log = stopped(node);
        assert_eq!(
            log.matches("it was set aside and an empty one begun")
                .count(),
            moved,
            "{log}"
        );
        panics += usize::from(log.contains("sled panicked"));
        set_aside += moved;
        assert!(aside(&place.data()).len() <= 3, "damaged stores pile up");
    }
    let ready: Vec<_> = starts.iter().map(|start| start.ready).collect();
    let rebuilt: Vec<_> = starts.iter().map(|start| start.rebuilt).collect();
    println!(
        "figure: list store destroyed in {} ways: 0 lost, {set_aside} set aside by name ({panics} after a panic of sled), {} refused in one line; ready p95 {:.2?}, lists right p95 {:.2?} after that",
        starts.len(),
        starts.iter().filter(|start| start.refused).count(),
        percentile(&ready, 95),
        percentile(&rebuilt, 95),
    );
}
