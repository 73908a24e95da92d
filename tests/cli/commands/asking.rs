//! Commands that ask the server which has the data folder: one that hangs, that refuses, that cannot.

use guestbook_testkit::process::{Place, finish, stderr, stdout};
use std::process::{Command, Output};

/// Every command that asks.
const ASKING: [&[&str]; 6] = [
    &["verify"],
    &["verify", "--guest", "g1", "--repair"],
    &["cache", "stats"],
    &["cache", "clear"],
    &["search", "hello"],
    &["search", "hello", "--guest", "g1"],
];

/// It must be refused in one line that has all these words.
fn refused(output: &Output, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{said}{}", stdout(output));
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "no {word}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_not_waited_for() {
    let place = Place::new();
    let server = place.serve();
    server.client.say("g1", "hello").await;
    server.signal("STOP");
    let commands = ASKING.map(|arguments| place.command(arguments));
    let ran = commands.map(|command: Command| std::thread::spawn(|| finish(command)));
    let address = server.client.address.to_string();
    for output in ran.map(|thread| thread.join().unwrap()) {
        refused(&output, &[&address, "does not answer"]);
    }
    server.signal("CONT");
    let answered = place.run(&["verify"]);
    assert!(answered.status.success(), "{}", stderr(&answered));
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_says_no_to_is_said_in_its_words() {
    let place = Place::new();
    let server = place.serve();
    let output = place.run(&["search", "hello", "--mode", "text"]);
    refused(&output, &["409", "--text-index on"]);
    assert!(!stderr(&output).contains('{'), "{}", stderr(&output));
    server.stop();
}
