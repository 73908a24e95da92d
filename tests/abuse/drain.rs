//! Long answers that nobody takes.
//!
//! Seen to fail: with connections that may stall for ever, of answers that are given up in time, `25 files are open, 21 were`; with a
//! budget of answers 64 times as large, of long ones, `344.5 MiB`; before there was any, a release build held 1.7 to 2.3 GiB for 80 of
//! them, and `/health` took 3.0 to 3.6 s. Without these it is 118 MiB.

use crate::row::{HELLO, get, post};
use crate::slow::Siege;
use crate::wire::Wire;
use guestbook_testkit::resources::mib;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The default of `--response-memory`.
const RESPONSE_MEMORY: u64 = 64 << 20;
/// What answers hold while they are made: two long ones their rows, and their text while it grows; and what the allocator keeps.
const BEING_MADE: u64 = 3 * (64 << 20);
/// Clients that take nothing: together they asked for sixteen times the budget.
const DEAF: usize = 64;
/// What a page of a chat may hold at most.
const PAGE: usize = 16 << 20;
/// How long one who reads may be told to come again.
const AGAIN: Duration = Duration::from_secs(60);

/// 16 MiB each: more than the system takes over from the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_takes_are_given_up_in_time() {
    let siege = Siege::new();
    let address = siege.node.client.address;
    tokio::task::block_in_place(|| fill(address));
    let files = siege.taken.files_at_rest().await;
    let deaf: Vec<_> = (0..4).map(|_| ask(address)).collect();
    // Each has been let in and is being answered. How many files are open then says nothing: the first may be given up before the
    // last has come.
    tokio::task::block_in_place(|| deaf.iter().for_each(Wire::await_first));
    siege.let_go(files).await;
    drop(deaf);
    tokio::task::block_in_place(|| siege.node.stop());
}

/// A chat whose answer is as long as one may be.
fn fill(address: SocketAddr) {
    let message = HELLO.replace("Hello", &"x".repeat(65_536));
    let body = format!(r#"{{"messages":[{}]}}"#, vec![message; 64].join(","));
    for _ in 0..4 {
        let mut wire = Wire::open(address);
        wire.send(post("long/batch", "", &body).as_bytes());
        assert_eq!(wire.reply(false).unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_that_nobody_takes_keep_to_their_budget_and_give_way_to_one_that_is_read() {
    let siege = Siege::with_patience("30s");
    let address = siege.node.client.address;
    tokio::task::block_in_place(|| fill(address));
    let files = siege.taken.files_at_rest().await;
    tokio::task::block_in_place(|| read(address)); // what one takes is not counted
    siege.taken.forget_peak();
    let base = siege.taken.peak();
    let deaf: Vec<_> = (0..DEAF).map(|_| ask_deaf(address)).collect();
    let since = Instant::now();
    tokio::task::block_in_place(|| deaf.iter().for_each(Wire::await_first));
    let all = since.elapsed();
    let since = Instant::now();
    let times = tokio::task::block_in_place(|| read(address));
    let took = since.elapsed();
    let grown = siege.taken.peak().saturating_sub(base);
    println!(
        "figure: {DEAF} answers of 16 MiB that nobody takes, or their refusals, began within {all:.1?}; one that is read came after that at \
         the {times}th time, within {took:.1?}; memory grew by {} over {}",
        mib(grown),
        mib(base)
    );
    assert!(grown < RESPONSE_MEMORY + BEING_MADE, "{}", mib(grown));
    drop(deaf);
    siege.let_go(files).await;
    tokio::task::block_in_place(|| siege.node.stop());
}

/// Asks on a connection whose system takes little ahead: some take an answer of 16 MiB as a whole.
fn ask_deaf(address: SocketAddr) -> Wire {
    let mut wire = Wire::with_little_room(address);
    wire.send(get("/v1/guest/chat/long", "").as_bytes());
    wire
}

fn ask(address: SocketAddr) -> Wire {
    let mut wire = Wire::open(address);
    wire.send(get("/v1/guest/chat/long", "").as_bytes());
    wire
}

/// Reads a whole page, and comes again when it is turned away; how often it came.
fn read(address: SocketAddr) -> usize {
    let since = Instant::now();
    for times in 1.. {
        match ask(address).reply(false) {
            Some(reply) if reply.status == 200 => {
                assert!(reply.body.len() > PAGE, "{} bytes", reply.body.len());
                return times;
            }
            Some(reply) => assert_eq!(reply.status, 503, "{}", reply.text()),
            None => {} // cut off: on a machine that is busy enough this client is a slow one, too
        }
        assert!(since.elapsed() < AGAIN, "it never came");
        std::thread::sleep(Duration::from_millis(50));
    }
    unreachable!()
}
