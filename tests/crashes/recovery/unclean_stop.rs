//! After a stop that was not clean the file is checked: a small one before anything is served, a large one while serving. A clean
//! stop costs nothing.
//!
//! Defects put in, and what was printed (each was taken out again):
//! - a database that is always taken for closed: the log of the small one has no check in it, `left: 0, right: 1`; and with the large
//!   one damaged `the process did not end`, it serves on;
//! - that the file is damaged is not noted beside it: the second start says `it started`, for the first one took the write-ahead log
//!   in when it closed, and nothing tells of the damage any more.

use crate::recovery::damage::{PAGE, page_of, write};
use crate::recovery::harness::{back_up, fatten, restore};
use guestbook_testkit::oracle::Dice;
use guestbook_testkit::process::{Place, Running};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// More than is checked first.
const LARGE: usize = 96; // MiB
/// How long a server may take to find damage that it looks for.
const LIMIT: Duration = Duration::from_secs(60);

/// A server that is killed with a message in its write-ahead log.
async fn killed(place: &Place) {
    let node = place.serve();
    for number in 0..40 {
        node.client.say("g1", &format!("message {number}")).await;
    }
    node.stop();
    let node = place.serve();
    node.client.say("g2", "Hello").await;
    node.kill();
}

/// Makes a page of vectors unreadable that is in no log.
fn break_a_page(place: &Place) {
    let page = page_of(&place.file(), "cache_embeddings", &mut Dice::thrown());
    println!("page {page} is broken");
    write(&place.file(), (page - 1) * PAGE, &[0; PAGE as usize]);
}

fn names(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.data()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// A start that does not come about; how it ended and what it said.
fn refusal(place: &Place) -> (ExitStatus, String) {
    let command = place.command(&["--listen", "127.0.0.1:0"]);
    let started = tokio::task::block_in_place(|| Running::try_start(command));
    started.map(end).expect_err("it started")
}

/// What it logged.
fn end(node: Running) -> String {
    node.signal("TERM");
    tokio::task::block_in_place(|| node.ended()).1
}

fn assert_damage_is_said((status, said): &(ExitStatus, String)) {
    assert_eq!(status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in ["damaged", "guestbook restore"] {
        assert!(said.contains(word), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_file_that_was_not_closed_is_checked_before_anything_is_served() {
    let place = Place::new();
    killed(&place).await;
    let node = place.serve();
    assert_eq!(node.client.history("g2").await.len(), 1);
    node.signal("TERM");
    let (_, log) = node.ended();
    assert_eq!(log.matches("was checked and is intact").count(), 1, "{log}");
    killed(&place).await;
    break_a_page(&place);
    assert_damage_is_said(&refusal(&place));
    assert_damage_is_said(&refusal(&place));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_clean_stop_nothing_is_checked() {
    let place = Place::new();
    for _ in 0..2 {
        let node = place.serve();
        node.client.say("g1", "Hello").await;
        node.signal("TERM");
        let (_, log) = node.ended();
        assert!(!log.contains("check"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_that_was_not_closed_is_checked_while_it_serves() {
    let place = Place::new();
    fatten(&place, LARGE);
    killed(&place).await;
    let began = Instant::now();
    let node = place.serve();
    println!(
        "figure: {LARGE} MiB not closed, ready after {:.2?}",
        began.elapsed()
    );
    let since = Instant::now();
    node.client.say("g1", "while it is being checked").await;
    tokio::time::sleep(Duration::from_secs(3).saturating_sub(since.elapsed())).await;
    node.signal("TERM");
    let (_, log) = node.ended();
    assert!(log.contains("checking the database"), "{log}");
    assert!(log.contains("was checked and is intact"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_that_is_damaged_stops_the_server_and_is_not_served_again() {
    let (place, file) = (Place::new(), tempfile::tempdir().unwrap());
    let file = file.path().join("copy.db");
    fatten(&place, LARGE);
    killed(&place).await;
    back_up(&place, &file);
    break_a_page(&place);
    let node = place.serve(); // it is ready before it is checked
    let since = Instant::now();
    let (status, log) = tokio::task::block_in_place(|| node.ended());
    println!(
        "figure: damage in {LARGE} MiB found after {:.2?}",
        since.elapsed()
    );
    assert!(since.elapsed() < LIMIT);
    assert_eq!(status.code(), Some(70), "{log}");
    let last = log.lines().filter(|line| line.starts_with("guestbook: "));
    let last: Vec<_> = last.collect();
    assert!(last.len() == 1 && last[0].contains("damaged"), "{log}");
    assert!(last[0].contains("guestbook restore"), "{log}");
    assert_damage_is_said(&refusal(&place));
    // As the line says. The mark of the damage stays where it is.
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(place.data().join(format!("guestbook.db{ending}")));
    }
    restore(&place, &file);
    let node = place.serve();
    assert_eq!(node.client.history("g1").await.len(), 40);
    let (names, log) = (names(&place), end(node));
    assert!(!names.contains(&"guestbook.db-damaged".into()), "{names:?}");
    assert!(log.contains("was checked and is intact"), "{log}");
}
