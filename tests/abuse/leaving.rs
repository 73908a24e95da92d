//! Clients that stop or go away in the middle.

use crate::row::{HELLO, Holds, Row, Then, get, post, smuggled, unmeasured};
use crate::wire::Wire;
use guestbook_testkit::process::Place;

pub(crate) fn rows() -> Vec<Row> {
    let whole = post("g", "", HELLO);
    let body = whole.len() - HELLO.len();
    let chunk = unmeasured("g", "Transfer-Encoding: chunked\r\n", "44\r\n{\"role\":");
    let head = &get("/health", "X-A: b\r\n")[..30];
    vec![
        Row::cut("nothing", "", &[]),
        Row::cut("half a head", head, &[]),
        Row::cut("half a head, and the client ends its side", head, &[]).then(Then::EndsItsSide),
        Row::cut("half a head, and the client leaves", head, &[]).then(Then::Leaves),
        Row::refused("half a body", &whole[..body + 10], &[408]),
        Row::refused(
            "half a body, and the client ends its side",
            &whole[..body + 10],
            &[400],
        )
        .then(Then::EndsItsSide),
        Row::cut(
            "half a body, and the client leaves",
            &whole[..body + 10],
            &[],
        )
        .then(Then::Leaves),
        Row::refused("a head without its body", &whole[..body], &[408]),
        Row::refused("half a chunk", chunk.as_str(), &[408]),
        Row::refused(
            "half a chunk, and the client ends its side",
            chunk.as_str(),
            &[400],
        )
        .then(Then::EndsItsSide),
        Row::cut("half a chunk, and the client leaves", chunk.as_str(), &[]).then(Then::Leaves),
        Row::refused(
            "chunks without the last one",
            unmeasured(
                "g",
                "Transfer-Encoding: chunked\r\n",
                &format!("44\r\n{HELLO}\r\n"),
            ),
            &[408],
        ),
        waiting("expecting 100, and then nothing"),
        Row::refused(
            "a body that is longer than it is",
            post("g", "", HELLO).replace("Content-Length: 68", "Content-Length: 100"),
            &[408],
        ),
        Row::refused(
            "a body that swallows the next request",
            unmeasured(
                "g",
                "Content-Length: 1000\r\n",
                &format!("{HELLO}{}", smuggled()),
            ),
            &[408],
        ),
    ]
}

/// The server says that it wants the body, which then never comes.
fn waiting(name: &'static str) -> Row {
    let mut row = Row::refused(
        name,
        unmeasured("g", "Content-Length: 68\r\nExpect: 100-continue\r\n", ""),
        &[100, 408],
    );
    row.holds = Holds::Problem;
    row
}

/// Whoever ends his side is taken for gone, as most servers do: so that nobody who has gone takes time from those who wait.
#[test]
fn a_client_that_ends_its_side_too_early_is_stored_once_or_not_at_all() {
    let place = Place::new();
    let node = place.serve();
    for number in 0..20 {
        let mut wire = Wire::open(node.client.address);
        wire.send(post(&format!("g{number}"), "", HELLO).as_bytes());
        wire.half_close();
        let answer = wire.reply(false);
        assert!(answer.is_none_or(|answer| answer.status == 200));
        assert_eq!(wire.closed().0, "");
    }
    for number in 0..20 {
        let mut wire = Wire::open(node.client.address);
        wire.send(get(&format!("/v1/guest/chat/g{number}"), "").as_bytes());
        let told = wire.reply(false).unwrap().text();
        assert!(told.matches("\"sequence\"").count() <= 1, "{told}");
    }
    node.stop();
}
