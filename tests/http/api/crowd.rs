//! The budget of all bodies: what arrives beyond it is turned away, and whoever holds most makes room first.

use guestbook::http::HttpSettings;
use guestbook_testkit::http_harness::client::{chat, said};
use guestbook_testkit::http_harness::server::{Plan, Site};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The largest body of these laws, and the budget of all.
const BUDGET: usize = 64 << 10;

pub(crate) fn little_room() -> Plan {
    Plan {
        http: HttpSettings {
            body_limit: BUDGET,
            body_memory: BUDGET,
            ..HttpSettings::default()
        },
        ..Plan::default()
    }
}

/// A client that has begun a body and stopped in the middle of it.
struct Begun {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Begun {
    fn new(site: &Site, guest: &str, bytes: usize, sent: usize) -> Self {
        let body = of_size(bytes).into_bytes();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n",
            chat(guest)
        );
        let mut stream = TcpStream::connect(site.client.address).unwrap();
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body[..sent]).unwrap();
        let rest = body[sent..].to_vec();
        Self { stream, rest }
    }

    /// Sends the rest, if it is still wanted; everything that is answered.
    fn finish(mut self) -> String {
        let _ = self.stream.write_all(&self.rest); // it may have been refused
        self.hear()
    }

    fn hear(&mut self) -> String {
        let mut heard = Vec::new();
        let _ = self.stream.read_to_end(&mut heard); // a reset after the answer is an end, too
        String::from_utf8_lossy(&heard).into_owned()
    }
}

fn of_size(bytes: usize) -> String {
    let empty = said("user", "").to_string().len();
    said("user", &"x".repeat(bytes - empty)).to_string()
}

fn is_turned_away(heard: &str) -> bool {
    let heard = heard.to_ascii_lowercase();
    heard.starts_with("http/1.1 503 ")
        && heard.contains("retry-after: 1\r\n")
        && heard.contains("content-type: application/problem+json\r\n")
}

pub(crate) async fn a_body_beyond_the_budget_is_a_503_and_stores_nothing(site: &Site) {
    let first = Begun::new(site, "first", 60_000, 30_000);
    // Blanks are no message; they are read to their end until the first holds its part.
    let (probe, blanks) = (chat("probe"), " ".repeat(50_000));
    while site.client.post_text(&probe, blanks.clone()).await.status == 400 {}
    // It would hold more than the first in the end, so it cannot send that one away.
    let second = Begun::new(site, "second", 60_000, 60_000).finish();
    assert!(is_turned_away(&second), "{second}");
    assert_eq!(site.client.stored().await, 0);
    // Nothing of the first was lost.
    let first = first.finish();
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert_eq!(site.client.stored().await, 1);
}

pub(crate) async fn whoever_holds_most_makes_room_for_a_small_message(site: &Site) {
    let mut greedy = Begun::new(site, "greedy", 64_000, 63_900);
    tokio::time::sleep(Duration::from_millis(300)).await; // it is read by then; only who holds something can be sent away
    for number in 0..3 {
        let body = of_size(20_000 + number);
        let answer = site.client.post_text(&chat("small"), body).await;
        answer.ok();
    }
    let heard = greedy.hear();
    assert!(is_turned_away(&heard), "{heard}");
    assert_eq!(site.client.stored().await, 3);
}

pub(crate) async fn bodies_of_the_full_size_are_taken_one_after_the_other(site: &Site) {
    for _ in 0..4 {
        let body = of_size(BUDGET);
        site.client.post_text(&chat("g1"), body).await.ok();
    }
    assert_eq!(site.client.stored().await, 4);
}
