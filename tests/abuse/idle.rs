//! Connections kept alive: how long they may say nothing is another matter than how long a head may take.
//!
//! Seen to fail: while one limit held for both, the proxy's connection was closed with the slow head (`the connection of the proxy
//! was closed`).

use crate::row::get;
use crate::wire::Wire;
use guestbook_testkit::process::{Place, Running};

/// Longer than any test.
const NEVER: &str = "1h";

fn serve(place: &Place, header: &str, idle: &str) -> Running {
    Running::start(place.command(&[
        "--listen",
        "127.0.0.1:0",
        "--header-timeout",
        header,
        "--idle-timeout",
        idle,
    ]))
}

/// A connection with one answer behind it.
fn kept_alive(node: &Running) -> Wire {
    let mut wire = Wire::open(node.client.address);
    asked(&mut wire);
    wire
}

fn asked(wire: &mut Wire) {
    wire.send(get("/health", "").as_bytes());
    let reply = wire.reply(false);
    let reply = reply.expect("the connection of the proxy was closed");
    assert_eq!(reply.status, 200);
}

#[test]
fn a_connection_of_a_proxy_outlives_a_head_that_is_too_slow() {
    let place = Place::new();
    let node = serve(&place, "300ms", NEVER);
    let mut proxy = kept_alive(&node);
    // Slow from its beginning, and after an answer.
    for mut slow in [Wire::open(node.client.address), kept_alive(&node)] {
        slow.send(b"GET /health HTTP/1.1\r\nX-Slow: ");
        assert_eq!(slow.closed().0, "");
    }
    asked(&mut proxy);
    node.stop();
}

#[test]
fn a_connection_that_asks_nothing_more_is_closed_in_its_own_time() {
    let place = Place::new();
    let node = serve(&place, NEVER, "300ms");
    let mut begun = Wire::open(node.client.address);
    begun.send(&get("/health", "").as_bytes()[..20]);
    let idle = kept_alive(&node);
    assert_eq!(idle.closed().0, "");
    begun.send(&get("/health", "").as_bytes()[20..]);
    let reply = begun.reply(false).expect("a head may take longer");
    assert_eq!(reply.status, 200);
    node.stop();
}
