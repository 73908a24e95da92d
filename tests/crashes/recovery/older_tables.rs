//! Tables that are brought back beside lists that know more, or other things, than they do: the lists are rebuilt.
//!
//! Defects put in, and what was printed (each was taken out again):
//! - the restored database keeps its epoch: `the lists never mark as synced: … divergent 3`, in sled and in Redis. The lists are as long as
//!   the tables, and nobody else would notice that they say something else;
//! - it keeps the incarnation of the lists that it knew: `divergent 1` in Redis, and `verify` finds the same in sled: the list of a
//!   guest that the restored tables do not know.

use crate::recovery::harness::{as_of_now, back_up, converse, restore};
use guestbook_testkit::oracle::{Nodes, Oracle, Stores, Talker};
use guestbook_testkit::pair::Pair;
use guestbook_testkit::process::{Place, Running};
use std::path::Path;
use std::sync::Arc;

/// What happens between the backup is restored and the newer lists are met.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meanwhile {
    Nothing,
    /// As many messages of each guest as the newer lists have more, with other words, while the lists are elsewhere: then lists
    /// and tables are equally long.
    AsManyMessages,
}

/// Messages of each guest that only the lists know.
const NEWER: usize = 3;
const GUESTS: [&str; 3] = ["guest-0", "guest-1", "guest-2"];

/// A server on the tables of the pair's place, and on its lists, which in a folder are those of `lists`.
fn serve(pair: &Pair, lists: &Path) -> Running {
    let mut command = pair.command(&["--listen", "127.0.0.1:0"]);
    if matches!(pair.lists, guestbook_testkit::pair::Lists::Sled) {
        command.arg("--cache-url");
        command.arg(format!("sled:{}", lists.display()));
    }
    pair.start(command)
}

fn stop(node: Running) {
    tokio::task::block_in_place(|| node.stop());
}

async fn newer_lists_are_rebuilt(mut pair: Pair, meanwhile: Meanwhile) {
    let lists = tempfile::tempdir().unwrap();
    let lists = lists.path().join("lists");
    let node = serve(&pair, &lists);
    let oracle = Arc::new(Oracle::default());
    converse(&oracle, &node, 200).await;
    oracle.assert_clean(&pair, &[&node.client]).await;
    let file = pair.place.path().join("copy.db");
    back_up(&pair.place, &file);
    // The lists go on; the backup does not.
    for guest in GUESTS.iter().chain(&["late"]) {
        for _ in 0..NEWER {
            node.client.say(guest, "of the other history").await;
        }
    }
    stop(node);
    let old = std::mem::replace(&mut pair.place, Place::new());
    restore(&pair.place, &file);
    let oracle = as_of_now(&oracle);
    if meanwhile == Meanwhile::AsManyMessages {
        let arguments = ["--listen", "127.0.0.1:0", "--cache-url", "memory:"];
        let node = pair.start(pair.place.command(&arguments));
        let mut talker = Talker::new(900, &oracle, &Nodes::of(&[&node]));
        for guest in GUESTS {
            for _ in 0..NEWER {
                talker.say(guest, true).await;
            }
        }
        stop(node);
    }
    let node = serve(&pair, &lists);
    let took = oracle.until_listed(&pair).await;
    oracle.assert_clean(&pair, &[&node.client]).await;
    println!(
        "figure: lists of a newer history ({}, {meanwhile:?}) are what the tables say after {took:.2?}",
        pair.list_store()
    );
    let late = node.client.get("/v1/guest/session/late").await;
    assert_eq!(late.status, 404, "{}", late.text());
    converse(&oracle, &node, 100).await;
    oracle.assert_clean(&pair, &[&node.client]).await;
    stop(node);
    drop(old);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_lists_in_a_folder_elsewhere_are_rebuilt() {
    newer_lists_are_rebuilt(Pair::sqlite_sled().await, Meanwhile::Nothing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_in_a_folder_of_equal_length_but_another_history_are_rebuilt() {
    newer_lists_are_rebuilt(Pair::sqlite_sled().await, Meanwhile::AsManyMessages).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_lists_in_a_redis_are_rebuilt() {
    newer_lists_are_rebuilt(Pair::sqlite_redis().await, Meanwhile::Nothing).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_in_a_redis_of_equal_length_but_another_history_are_rebuilt() {
    newer_lists_are_rebuilt(Pair::sqlite_redis().await, Meanwhile::AsManyMessages).await;
}
