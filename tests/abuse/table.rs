//! The table of bad requests, row by row.
//!
//! Defects put in, and what was printed (each was taken out again):
//! - requests of no certain length or host are not refused: 10 lines, the first of them `chunked twice in one header: more was
//!   answered: HTTP/1.1 200 OK`, and after it `1 messages were stored`: the smuggled one;
//! - the limit of a body one byte too low: `a body of the limit: answer 0 should be a 200: HTTP/1.1 413 Payload Too Large`, and
//!   the same of `chunks of the limit`.

use crate::row::{After, Holds, Row, Then, post};
use crate::wire::{Reply, Wire};
use crate::{body_budget, chunks, framing, heads, leaving, paths};
use guestbook_testkit::client::assert_problem;
use guestbook_testkit::process::{Place, Running};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the server allows for a head, for the time before it, and for a body.
const ALLOWED: &str = "500ms";
/// A connection that is to be closed is closed by then, at the very latest.
const IN_TIME: Duration = Duration::from_secs(20);

/// A server and what is known of it.
struct Ground {
    place: Place,
    node: Running,
    /// Good messages sent between the rows.
    afterwards: u64,
}

#[test]
fn every_bad_request_gets_what_the_table_says_and_nobody_else_notices() {
    let mut ground = Ground::new();
    let others = Others::talk(ground.address());
    let rows = all();
    let mut wrong = Vec::new();
    for row in &rows {
        let before = ground.stored();
        if let Err(what) = ground.play(row) {
            wrong.push(format!("{}: {what}", row.name));
        }
        let stored = ground.stored() - before;
        if stored != row.stores {
            wrong.push(format!("{}: {stored} messages were stored", row.name));
        }
        ground.says(&mut Wire::open(ground.address()));
    }
    let served = others.finish();
    println!(
        "figure: {} bad requests, {} wrong; others were served {served} times meanwhile",
        rows.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(served > 0);
    ground.stop();
}

fn all() -> Vec<Row> {
    let tables = [
        framing::rows(),
        chunks::rows(),
        heads::rows(),
        paths::rows(),
        body_budget::rows(),
        leaving::rows(),
    ];
    tables.concat()
}

impl Ground {
    fn new() -> Self {
        let place = Place::new();
        let flags = [
            "--listen",
            "127.0.0.1:0",
            "--header-timeout",
            ALLOWED,
            "--idle-timeout",
            ALLOWED,
            "--body-timeout",
            ALLOWED,
        ];
        let node = Running::start(place.command(&flags));
        Self {
            place,
            node,
            afterwards: 0,
        }
    }

    fn address(&self) -> SocketAddr {
        self.node.client.address
    }

    /// Messages of the guests of the rows.
    fn stored(&self) -> u64 {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = Connection::open_with_flags(self.place.file(), flags).unwrap();
        let sql =
            "SELECT count(*) FROM message_cache JOIN conversation_cache c ON c.id = conversation_id
            WHERE user_id NOT IN ('afterwards', 'meanwhile')";
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Sends a row and compares what comes.
    fn play(&mut self, row: &Row) -> Result<(), String> {
        let mut wire = Wire::open(self.address());
        wire.send(&row.bytes);
        match row.then {
            Then::Leaves => return Ok(()),
            Then::EndsItsSide => wire.half_close(),
            Then::Listens => {}
        }
        let mut last = None;
        for (place, expected) in row.answers.iter().enumerate() {
            let Some(reply) = wire.reply(false) else {
                return Err(format!(
                    "answer {place} should be a {expected}, and none came"
                ));
            };
            if reply.status != *expected {
                return Err(format!(
                    "answer {place} should be a {expected}: {} {}",
                    reply.head,
                    reply.text()
                ));
            }
            last = Some(reply);
        }
        if let Some(reply) = last {
            holds(row.holds, &reply)?;
        }
        match row.after {
            After::Keeps => {
                self.says(&mut wire);
                Ok(())
            }
            After::Closes => closes(wire),
        }
    }

    /// A good message over this connection, which must get its own answer.
    fn says(&mut self, wire: &mut Wire) {
        let body = crate::row::HELLO.replace("Hello", &format!("good {}", self.afterwards));
        wire.send(post("afterwards", "", &body).as_bytes());
        let reply = wire.reply(false).expect("an answer to a good request");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            answer["guest_id"], "afterwards",
            "the answer to another request came"
        );
        assert_eq!(
            answer["sequence"], self.afterwards,
            "the answer to another request came"
        );
        self.afterwards += 1;
    }

    fn stop(self) {
        let Self { node, place, .. } = self;
        node.stop();
        let verified = place.run(&["verify"]);
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    }
}

fn holds(expected: Holds, reply: &Reply) -> Result<(), String> {
    let kind = reply.header("content-type").unwrap_or("");
    let wanted = match expected {
        Holds::Nothing if reply.body.is_empty() => return Ok(()),
        Holds::Nothing => return Err(format!("an empty answer is not empty: {}", reply.text())),
        // A bad request among good ones may come last.
        Holds::Problem => "application/problem+json",
        Holds::Json if reply.status < 400 => "application/json",
        Holds::Json => return Ok(()),
    };
    if kind != wanted {
        return Err(format!("the answer should be {wanted}: {}", reply.head));
    }
    let document: Value = serde_json::from_slice(&reply.body)
        .map_err(|cause| format!("{cause}: {}", reply.text()))?;
    if expected == Holds::Problem {
        assert_problem(&document, reply.status);
    }
    Ok(())
}

fn closes(wire: Wire) -> Result<(), String> {
    let (rest, took) = wire.closed();
    if !rest.is_empty() {
        return Err(format!("more was answered: {rest}"));
    }
    if took > IN_TIME {
        return Err(format!("the connection was open for {took:?} longer"));
    }
    Ok(())
}

/// Someone who talks all the time and must not notice.
struct Others {
    stop: Arc<AtomicBool>,
    talking: JoinHandle<u64>,
}

impl Others {
    fn talk(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let talking = std::thread::spawn(move || {
            let mut said = 0;
            while !stopped.load(Ordering::Relaxed) {
                let mut wire = Wire::open(address);
                for _ in 0..10 {
                    wire.send(post("meanwhile", "", crate::row::HELLO).as_bytes());
                    let reply = wire.reply(false).expect("an answer to someone else");
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    said += 1;
                    std::thread::sleep(Duration::from_millis(2)); // or it would be a load, not a witness
                }
            }
            said
        });
        Self { stop, talking }
    }

    /// How often they were answered.
    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.talking.join().unwrap()
    }
}
