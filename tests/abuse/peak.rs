//! What one body takes: little more than itself, and not itself twice.
//!
//! Seen to fail: with the body held in pieces that are joined at its end, as it once was, it said `8388607 bytes took 14.6 MiB`.

use crate::body_budget::{LIMIT, chunked, of_size};
use crate::row::{HELLO, post};
use crate::wire::Wire;
use guestbook_testkit::process::{Place, Running};
use guestbook_testkit::resources::{Taken, mib};
use std::net::SocketAddr;

/// What a body may take beside itself: what the connection has read and not yet given on, and pages that any request touches.
const BESIDE: u64 = 4 << 20;

#[test]
fn a_body_of_the_limit_takes_little_more_than_itself() {
    for bytes in [LIMIT - 1, LIMIT] {
        let body = of_size(bytes);
        law("announced", bytes, &post("g", "", &body));
        law("in chunks", bytes, &chunked(&body));
    }
}

fn law(how: &str, bytes: usize, request: &str) {
    let taken = peak_of(request);
    println!(
        "figure: one body of {bytes} bytes, {how}, took {} at most",
        mib(taken)
    );
    assert!(
        taken < bytes as u64 + BESIDE,
        "{bytes} bytes took {}",
        mib(taken)
    );
}

/// By how much the memory of a server grew at most while it took a request; a new one each time, for what one body has taken the
/// next one need not take.
fn peak_of(request: &str) -> u64 {
    let place = Place::new();
    let node = Running::start(place.command(&["--listen", "127.0.0.1:0"]));
    let taken = Taken(node.id());
    warm(node.client.address);
    taken.forget_peak();
    let base = taken.peak();
    let mut wire = Wire::open(node.client.address);
    wire.send(request.as_bytes());
    let reply = wire.reply(false).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let peak = taken.peak();
    node.stop();
    peak - base
}

/// What any use of it takes is no growth.
fn warm(address: SocketAddr) {
    let mut wire = Wire::open(address);
    for _ in 0..100 {
        wire.send(post("other", "", HELLO).as_bytes());
        assert_eq!(wire.reply(false).unwrap().status, 200);
    }
}
