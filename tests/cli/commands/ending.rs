//! Every end, asked for or not: what was answered with 200 is there afterwards.

use guestbook_testkit::client::{Answer, Client, chat, contents, json_body, said, sequences};
use guestbook_testkit::process::Place;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::Duration;
use tokio::task::JoinHandle;

const CLIENTS: usize = 16;
/// Acknowledged messages before the end comes.
const ENOUGH: usize = 300;

/// A guest's messages that were answered with 200: sequence → content.
type Acknowledged = BTreeMap<u64, String>;

/// One client that posts to one of four guests until the server is gone.
fn post_until_gone(client: Client, number: usize) -> JoinHandle<(String, Acknowledged)> {
    tokio::spawn(async move {
        let guest = format!("g{}", number % 4);
        let mut acknowledged = Acknowledged::new();
        for count in 0.. {
            let content = format!("message {count} of client {number}");
            let request = client.request("POST", &chat(&guest));
            let body = said("user", &content).to_string();
            let Ok(answer) = Answer::try_of(json_body(request, body)).await else {
                break;
            };
            if answer.status == 200 {
                let sequence = answer.json()["sequence"].as_u64().unwrap();
                acknowledged.insert(sequence, content);
            }
        }
        (guest, acknowledged)
    })
}

/// Puts a server under load and ends it in the middle; every guest's acknowledged messages.
async fn load_and(
    place: &Place,
    end: impl FnOnce(guestbook_testkit::process::Running),
) -> BTreeMap<String, Acknowledged> {
    let server = place.serve();
    let client = server.client.clone();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| post_until_gone(client.clone(), number))
        .collect();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while client.stored().await < ENOUGH as u64 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the load does not arrive"
        );
    }
    end(server);
    let mut all: BTreeMap<String, Acknowledged> = BTreeMap::new();
    for client in clients {
        let (guest, acknowledged) = client.await.unwrap();
        all.entry(guest).or_default().extend(acknowledged);
    }
    all
}

/// Starts it again: every acknowledged message is in its place, and every store agrees with every other one.
async fn assert_kept(place: &Place, acknowledged: &BTreeMap<String, Acknowledged>) {
    let total: usize = acknowledged.values().map(BTreeMap::len).sum();
    assert!(total >= ENOUGH - CLIENTS, "only {total} were acknowledged");
    let server = place.serve();
    for (guest, messages) in acknowledged {
        let history = server.client.history(guest).await;
        let dense: Vec<_> = (0..history.len() as u64).collect();
        assert_eq!(sequences(&history), dense, "{guest}");
        let kept = contents(&history);
        for (sequence, content) in messages {
            assert_eq!(
                kept.get(*sequence as usize),
                Some(&content.as_str()),
                "{guest} {sequence}"
            );
        }
    }
    assert_verified(place);
    server.stop();
    assert_verified(place);
}

fn assert_verified(place: &Place) {
    let output = place.run(&["verify"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        guestbook_testkit::process::stdout(&output)
    );
}

async fn ends_well_by(signal: &str) {
    let place = Place::new();
    let acknowledged = load_and(&place, |server| {
        server.signal(signal);
        let (status, log) = server.ended();
        assert_eq!(status.code(), Some(0), "{log}");
    })
    .await;
    // Everything was flushed, so that nothing is left to mend.
    assert_verified(&place);
    assert_kept(&place, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_keeps_what_was_answered_and_exits_0() {
    ends_well_by("TERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_under_load_keeps_what_was_answered_and_exits_0() {
    ends_well_by("INT").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_keeps_what_was_answered() {
    let place = Place::new();
    let acknowledged = load_and(&place, guestbook_testkit::process::Running::kill).await;
    assert_kept(&place, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_again_and_again_keeps_what_was_answered() {
    let place = Place::new();
    for round in 0..4 {
        let server = place.serve();
        for number in 0..10 {
            let answer = server.client.say("g1", "Hello").await;
            assert_eq!(answer["sequence"], round * 10 + number);
        }
        server.kill();
    }
    assert_kept_list(&place, 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_were_deleted_are_back_after_a_restart() {
    let place = Place::new();
    let server = place.serve();
    for _ in 0..10 {
        server.client.say("g1", "Hello").await;
    }
    server.stop();
    std::fs::remove_dir_all(place.data().join("lists")).unwrap();
    assert_kept_list(&place, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_were_damaged_are_set_aside_and_rebuilt() {
    let place = Place::new();
    let server = place.serve();
    for _ in 0..10 {
        server.client.say("g1", "Hello").await;
    }
    server.stop();
    std::fs::write(place.data().join("lists/conf"), "garbage").unwrap();
    assert_kept_list(&place, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_in_memory_are_rebuilt_at_every_start() {
    let place = Place::new();
    for count in 1..3 {
        let arguments = ["--listen", "127.0.0.1:0", "--cache-url", "memory:"];
        let server = guestbook_testkit::process::Running::start(place.command(&arguments));
        server.client.say("g1", "Hello").await;
        let session = server.client.get("/v1/guest/session/g1").await.ok();
        assert_eq!(session["messages"].as_array().unwrap().len(), count);
        server.stop();
    }
}

/// Starts it again: the list has so many messages, and everything agrees, also once it has stopped.
async fn assert_kept_list(place: &Place, count: usize) {
    let server = place.serve();
    let session = server.client.get("/v1/guest/session/g1").await.ok();
    assert_eq!(session["messages"].as_array().unwrap().len(), count);
    assert_eq!(session["source"], "sled");
    assert_verified(place);
    server.stop();
    assert_verified(place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_remembered_after_a_stop_and_after_a_kill() {
    let place = Place::new();
    let message = said("user", "Hello");
    let server = place.serve();
    let first = server
        .client
        .post_keyed(&chat("g1"), "k", &message)
        .await
        .ok();
    server.stop();
    let server = place.serve();
    let second = server
        .client
        .post_keyed(&chat("g1"), "k", &message)
        .await
        .ok();
    server.kill();
    let server = place.serve();
    let third = server
        .client
        .post_keyed(&chat("g1"), "k", &message)
        .await
        .ok();
    assert_eq!(first.get("replayed"), None);
    for again in [second, third] {
        assert_eq!(again["replayed"], true);
        assert_eq!(again["message_id"], first["message_id"]);
        assert_eq!(again["sequence"], 0);
    }
    assert_eq!(server.client.stored().await, 1);
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let place = Place::new();
    let server = place.serve();
    let idle = std::net::TcpStream::connect(server.client.address).unwrap();
    server.client.say("g1", "Hello").await; // keeps its connection as well
    server.stop();
    drop(idle);
}

/// Waits until nothing more is accepted: the server has begun to stop.
async fn refuses_connections(server: &guestbook_testkit::process::Running) {
    let since = std::time::Instant::now();
    while std::net::TcpStream::connect(server.client.address).is_ok() {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "it still listens"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_is_finished_before_the_end() {
    let place = Place::new();
    let server = place.serve();
    let body = said("user", "Hello").to_string();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        chat("g1"),
        body.len()
    );
    let mut stream = std::net::TcpStream::connect(server.client.address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // The server asks for the body, so the request is in flight.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 "));
    server.signal("TERM");
    refuses_connections(&server).await;
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    let server = place.serve();
    assert_eq!(server.client.history("g1").await.len(), 1);
    server.stop();
}
