//! A stop in the middle of the load, again and again: it ends well and in time, whoever was let in is answered, and the next start
//! has nothing to mend.
//!
//! Seen to fail: when requests in flight were not waited for (a `drain_timeout` of 0), it said `stored and never answered` with
//! their rows.

use crate::adverse::words::{percentile, stopped, until_ready};
use guestbook_testkit::client::{chat, said};
use guestbook_testkit::oracle::{Dice, Load, Nodes, Oracle, Plan, Row, Stores, rounds, within};
use guestbook_testkit::pair::Pair;
use guestbook_testkit::process::{Log, Place, Running};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CLIENTS: usize = 32;
/// What a stop may take.
const LIMIT: Duration = Duration::from_secs(10);
/// What a start says when it has something to mend.
const MENDING: [&str; 4] = ["rebuilt lists", "lists reconciled", "set aside", "ERROR"];

/// Asks a node to end in one of the ways there are; how long it took to.
fn ask(node: Running, round: usize) -> (Duration, String) {
    let since = Instant::now();
    let signals: &[&str] = match round % 3 {
        0 => &["TERM"],
        1 => &["INT"],
        _ => &["TERM", "TERM", "INT"],
    };
    for signal in signals {
        node.signal(signal);
        std::thread::sleep(Duration::from_millis(15));
    }
    let (status, log) = node.ended();
    let took = since.elapsed();
    assert_eq!(status.code(), Some(0), "{signals:?}: {log}");
    assert!(took < within(LIMIT), "{signals:?} took {took:?}: {log}");
    (took, log)
}

/// Messages that are stored though nobody was told so, and that were not before.
fn untold(oracle: &Oracle, rows: &[Row], known: &mut HashSet<String>) -> Vec<String> {
    let rows = oracle.unanswered(rows).into_iter();
    let new = rows.filter(|row| known.insert(row.content.clone()));
    new.map(|row| format!("{row:?}")).collect()
}

async fn stop_again_and_again(pair: Pair) {
    let mut dice = Dice::thrown();
    let oracle = Arc::new(Oracle::default());
    let mut node = pair.serve();
    let nodes = Nodes::of(&[&node]);
    let plan = Plan {
        clients: CLIENTS,
        guests: 24,
        requests: usize::MAX,
        pause: Duration::from_millis(2),
    };
    let load = Load::start(&oracle, &nodes, plan);
    let (mut stops, mut known, mut told) = (Vec::new(), HashSet::new(), [0, 0, 0]);
    for round in 0..rounds(5, 20) {
        let more = 150 + dice.roll(150);
        oracle.progress(usize::try_from(more).unwrap()).await;
        let before = {
            let book = oracle.book();
            [book.saved, book.unavailable, book.died]
        };
        let (took, _) = tokio::task::block_in_place(|| ask(node, round));
        stops.push(took);
        // Answers that have arrived are being noted.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let after = {
            let book = oracle.book();
            [book.saved, book.unavailable, book.died]
        };
        for (sum, (after, before)) in told.iter_mut().zip(after.into_iter().zip(before)) {
            *sum += after - before;
        }
        let untold = untold(&oracle, &pair.rows().await, &mut known);
        assert!(untold.is_empty(), "stored and never answered: {untold:#?}");
        let (code, said) = pair.verify().await;
        assert_eq!(code, 0, "something is left to mend: {said}");
        node = pair.serve();
        nodes.set(0, &node);
    }
    load.finish().await;
    stopped(node);
    let node = pair.serve();
    until_ready(&node.client).await;
    oracle.assert_clean(&pair, &[&node.client]).await;
    let log = stopped(node);
    let mended: Vec<_> = MENDING.iter().filter(|word| log.contains(**word)).collect();
    assert!(mended.is_empty(), "a clean stop left {mended:?}: {log}");
    let [saved, refused, died] = told;
    println!(
        "figure: stopped {} times under {CLIENTS} clients on {}: exit 0 after p50 {:.2?}, longest {:.2?}; from the signal on {saved} saved, {refused} × 503, {died} connections refused or closed before the request was read, 0 stored without an answer, 0 lost, nothing to mend",
        stops.len(),
        pair.list_store(),
        percentile(&stops, 50),
        percentile(&stops, 100),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_answers_everyone_it_has_let_in_on_sqlite_and_sled() {
    stop_again_and_again(Pair::sqlite_sled().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_answers_everyone_it_has_let_in_on_postgres_and_redis() {
    stop_again_and_again(Pair::postgres_redis().await).await;
}

/// Whoever takes the log dies, hangs or is full: the stop is heeded, and nothing is lost. Seen to fail while whoever had a line
/// wrote it: `no banner, exit status: 101`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_heeded_whatever_becomes_of_the_log() {
    for log in Log::LOST {
        let mut pair = Pair::sqlite_sled().await;
        pair.settings = vec!["--log", "debug"];
        pair.log = log;
        let (oracle, mut node) = (Arc::new(Oracle::default()), pair.serve());
        let nodes = Nodes::of(&[&node]);
        let plan = Plan {
            clients: CLIENTS,
            guests: 24,
            requests: usize::MAX,
            pause: Duration::ZERO,
        };
        let load = Load::start(&oracle, &nodes, plan);
        for round in 0..rounds(2, 6) {
            oracle.progress(300).await; // a pipe that nobody reads is full after some fifty
            let (took, _) = tokio::task::block_in_place(|| ask(node, round));
            println!("figure: a stop under load while the log is {log:?} took {took:.2?}");
            node = pair.serve();
            nodes.set(0, &node);
        }
        load.finish().await;
        oracle.assert_clean(&pair, &[&node.client]).await;
        stopped(node);
    }
}

/// The head and the beginning of a body, up to where the server asks for the rest.
fn begin_request(node: &Running, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(node.client.address).unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        chat("g1"),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 "));
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_answer_on_a_kept_connection_says_that_it_is_the_last() {
    let place = Place::new();
    let node = tokio::task::block_in_place(|| place.serve());
    let body = said("user", "Hello").to_string();
    let mut stream = begin_request(&node, &body);
    node.signal("TERM");
    let since = Instant::now();
    while TcpStream::connect(node.client.address).is_ok() {
        assert!(since.elapsed() < within(LIMIT), "it still listens");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    let (status, log) = tokio::task::block_in_place(|| node.ended());
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_ends_its_request_does_not_hold_up_the_stop() {
    let place = Place::new();
    let node = tokio::task::block_in_place(|| place.serve());
    let _streams: Vec<_> = (0..8)
        .map(|_| begin_request(&node, "a body that never comes"))
        .collect();
    let (took, _) = tokio::task::block_in_place(|| ask(node, 0));
    println!("figure: a stop with requests that never end took {took:.2?}");
}
