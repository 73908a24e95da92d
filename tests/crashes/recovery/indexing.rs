//! The process is killed while the search index is made, and while vectors are computed anew: nothing is lost, both go on, and a
//! search says in how much it looked.

use crate::recovery::harness::done;
use guestbook_testkit::client::{Client, chat, said};
use guestbook_testkit::oracle::{Dice, Load, Nodes, OnDisk, Oracle, Plan, rounds};
use guestbook_testkit::process::{Place, Running};
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Enough that a full scan and a recomputation take a while.
const MESSAGES: u64 = 6_000;
const PER_REQUEST: u64 = 1_000;
const FILLERS: u64 = 50;
const LIMIT: Duration = Duration::from_secs(60);

async fn fill(client: &Client) {
    for batch in 0..MESSAGES / PER_REQUEST {
        let one = |n: u64| {
            let number = batch * PER_REQUEST + n;
            let mut message = said(
                "user",
                &format!("order {number} of the parcel from the {number} street"),
            );
            message["guest_id"] = json!(format!("filler-{}", number % FILLERS));
            message
        };
        let body: Vec<Value> = (0..PER_REQUEST).map(one).collect();
        let answer = client.post("/v1/messages/batch", &json!(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

async fn search(client: &Client, q: &str) -> Value {
    client
        .post("/v1/search", &json!({"q": q, "k": 100}))
        .await
        .ok()
}

/// Waits until a search looks in all there is; how much that is.
async fn complete(client: &Client) -> u64 {
    let since = Instant::now();
    loop {
        let answer = search(client, "order of the parcel").await;
        if answer["index"] == "ready" && answer["searched"] == answer["of"] {
            return answer["of"].as_u64().unwrap();
        }
        assert!(
            since.elapsed() < LIMIT,
            "never: everything is found again: {answer}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn serve(place: &Place) -> Running {
    let command = place.command(&["--listen", "127.0.0.1:0", "--search-index", "on"]);
    tokio::task::block_in_place(|| Running::start(command))
}

fn count(place: &Place, what: &str) -> u64 {
    let connection = rusqlite::Connection::open(place.file()).unwrap();
    connection.query_row(what, [], |row| row.get(0)).unwrap()
}

/// Clients that go on through the kills.
fn plan() -> Plan {
    Plan {
        clients: 8,
        guests: 20,
        requests: usize::MAX,
        pause: Duration::from_millis(5),
    }
}

async fn forget_what_the_oracle_does_not_know(client: &Client) {
    for number in 0..FILLERS {
        client.delete(&chat(&format!("filler-{number}"))).await.ok();
    }
    client.delete(&chat("last")).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_the_index_is_made_loses_nothing() {
    let (place, mut dice) = (Place::new(), Dice::thrown());
    let oracle = Arc::new(Oracle::default());
    let mut node = serve(&place);
    fill(&node.client).await;
    let nodes = Nodes::of(&[&node]);
    let load = Load::start(&oracle, &nodes, plan());
    for _ in 0..rounds(5, 50) {
        tokio::time::sleep(dice.between(Duration::ZERO, Duration::from_millis(300))).await;
        tokio::task::block_in_place(|| node.kill());
        node = serve(&place);
        nodes.set(0, &node);
    }
    oracle.progress(100).await;
    load.finish().await;
    let there = complete(&node.client).await;
    let vectors = count(&place, "SELECT count(*) FROM cache_embeddings");
    assert_eq!(
        there, vectors,
        "messages that are searched, and vectors there are"
    );
    node.client
        .say("last", "a green crocodile plays the violin")
        .await;
    let answer = search(&node.client, "a green crocodile plays the violin").await;
    assert_eq!(
        answer["hits"][0]["content"],
        "a green crocodile plays the violin"
    );
    forget_what_the_oracle_does_not_know(&node.client).await;
    oracle.until_listed(&OnDisk::new(&place, &node)).await;
    oracle
        .assert_clean(&OnDisk::new(&place, &node), &[&node.client])
        .await;
    tokio::task::block_in_place(|| node.stop());
}

fn begin(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Waits until a search looks in so many of all; then it must find so many, and no others.
async fn looks_in(client: &Client, searched: u64) {
    let since = Instant::now();
    loop {
        let ready = client.get("/readyz").await.ok();
        let expected = json!({"state": "ready", "searched": searched, "of": MESSAGES});
        if ready["search_index"] == expected {
            break;
        }
        assert!(since.elapsed() < LIMIT, "never {expected}: {ready}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = search(client, "order of the parcel").await;
    let hits = answer["hits"].as_array().unwrap().len();
    assert_eq!(hits as u64, searched.min(100), "{answer}");
    assert_eq!(answer["searched"], searched);
}

const OLD: &str = "SELECT count(*) FROM cache_embeddings WHERE embedding_model LIKE 'old:%'";

/// A recomputation that is killed when it has done so many; how many it has done.
fn reembed_and_kill(place: &Place, at_least: u64) -> u64 {
    let before = count(place, OLD);
    let (mut child, since) = (begin(place.command(&["reembed"])), Instant::now());
    loop {
        let done = before - count(place, OLD);
        if done >= at_least || child.try_wait().unwrap().is_some() {
            break;
        }
        assert!(since.elapsed() < LIMIT, "nothing is computed anew");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    before - count(place, OLD)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_while_vectors_are_computed_anew_looks_in_what_is_done() {
    let place = Place::new();
    let node = serve(&place);
    fill(&node.client).await;
    tokio::task::block_in_place(|| node.stop());
    place.damage("UPDATE cache_embeddings SET embedding_model = 'old:256:00000000'");
    let node = serve(&place);
    looks_in(&node.client, 0).await;
    tokio::task::block_in_place(|| node.stop());
    let mut done_so_far = 0;
    for _ in 0..rounds(2, 20) {
        done_so_far += tokio::task::block_in_place(|| reembed_and_kill(&place, 500));
        let node = serve(&place);
        looks_in(&node.client, done_so_far).await;
        tokio::task::block_in_place(|| node.stop());
    }
    assert!(
        done_so_far > 0 && done_so_far < MESSAGES,
        "{done_so_far} were done: no kill met the middle"
    );
    done(place.command(&["reembed"]));
    let node = serve(&place);
    assert_eq!(complete(&node.client).await, MESSAGES);
    done(place.command(&["verify"]));
    tokio::task::block_in_place(|| node.stop());
}
