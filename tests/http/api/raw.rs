//! Clients that dawdle, leave or hurry, over a plain socket, on every pair of stores. Bytes that no good client sends are in
//! tests/abuse: their fate does not depend on a store.

use guestbook::http::HttpSettings;
use guestbook_testkit::http_harness::client::said;
use guestbook_testkit::http_harness::server::{Plan, Site};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What the server of these laws allows.
const LIMIT: Duration = Duration::from_millis(200);
/// What a law waits for an answer or an end; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn impatient() -> Plan {
    Plan {
        http: HttpSettings {
            header_timeout: LIMIT,
            idle_timeout: LIMIT,
            body_timeout: LIMIT,
            ..HttpSettings::default()
        },
        ..Plan::default()
    }
}

fn connect(site: &Site) -> TcpStream {
    let stream = TcpStream::connect(site.client.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything the server says until it closes the connection.
fn until_closed(mut stream: &TcpStream) -> String {
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
            Err(cause) if cause.kind() == ErrorKind::ConnectionReset => break,
            Err(cause) => panic!("the server did not close the connection: {cause}"),
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// Sends bytes, all of them if the server takes them, and hears what it says until it closes.
pub(crate) fn exchange(site: &Site, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = connect(site);
    // A server that has refused already need not read the rest.
    let _ = stream.write_all(bytes.as_ref());
    until_closed(&stream)
}

fn statuses(heard: &str) -> Vec<&str> {
    let starts = heard.split("HTTP/1.1 ").skip(1);
    starts.map(|answer| &answer[..3]).collect()
}

fn post(guest: &str, body: &str, extra: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/guest/chat/{guest} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{extra}\r\n{body}"
    )
}

fn hello() -> String {
    said("user", "Hello").to_string()
}

/// Others are answered, and nothing of what came before is stored.
async fn serves_on(site: &Site) {
    assert_eq!(site.client.stored().await, 0);
    site.client.say("other", "Hello").await;
}

pub(crate) async fn a_head_that_trickles_is_cut_off(site: &Site) {
    let mut stream = connect(site);
    let since = std::time::Instant::now();
    while stream.write_all(b"X").is_ok() {
        assert!(
            since.elapsed() < PATIENCE,
            "the server takes byte after byte"
        );
        std::thread::sleep(Duration::from_millis(20)); // the slowness is what is tested
    }
    serves_on(site).await;
}

pub(crate) async fn an_idle_connection_is_closed_after_its_answer(site: &Site) {
    let heard = exchange(site, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(statuses(&heard), ["200"]);
    serves_on(site).await;
}

pub(crate) async fn a_body_that_is_cut_off_stores_nothing(site: &Site) {
    let request = post("g1", &hello(), "");
    let mut stream = connect(site);
    stream
        .write_all(&request.as_bytes()[..request.len() - 5])
        .unwrap();
    drop(stream);
    serves_on(site).await;
}

pub(crate) async fn pipelined_requests_are_answered_in_order(site: &Site) {
    let first = post("g1", &said("user", "one").to_string(), "");
    let second = post("g1", &said("user", "two").to_string(), "");
    let third = "GET /v1/guest/chat/g1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let heard = exchange(site, format!("{first}{second}{third}"));
    assert_eq!(statuses(&heard), ["200", "200", "200"]);
    let (one, two) = (heard.find("\"sequence\":0"), heard.find("\"sequence\":1"));
    assert!(one.is_some() && one < two, "{heard}");
    assert_eq!(site.client.history("g1").await.len(), 2);
}

pub(crate) async fn a_client_that_leaves_before_the_answer_changes_nothing(site: &Site) {
    for number in 0..20 {
        let body = said("user", &format!("message {number}")).to_string();
        let mut stream = connect(site);
        stream.write_all(post("g1", &body, "").as_bytes()).unwrap();
        drop(stream);
    }
    let answer = site.client.say("g1", "last").await;
    let history = site.client.history("g1").await;
    assert!(answer["sequence"].as_u64().unwrap() <= 20);
    let dense: Vec<_> = (0..history.len() as u64).collect();
    assert_eq!(
        guestbook_testkit::http_harness::client::sequences(&history),
        dense
    );
}

/// Ordinary clients take them out of a path, also when they are encoded, so nobody could read or erase what is stored there.
pub(crate) async fn dots_alone_are_no_guest_or_user_ids(site: &Site) {
    for dots in [".", "..", "%2e%2E", "%2e"] {
        let heard = exchange(site, post(dots, &hello(), "Connection: close\r\n"));
        assert_eq!(statuses(&heard), ["422"], "{dots}: {heard}");
        assert!(heard.contains("\"field\":\"guest_id\""), "{heard}");
        for path in [
            format!("guest/chat/{dots}"),
            format!("guest/session/{dots}"),
            format!("guest/verify/{dots}"),
            format!("user/{dots}/conversations"),
        ] {
            let head = "Host: x\r\nConnection: close\r\n\r\n";
            let heard = exchange(site, format!("GET /v1/{path} HTTP/1.1\r\n{head}"));
            assert_eq!(statuses(&heard), ["422"], "{path}: {heard}");
        }
    }
    serves_on(site).await;
}

pub(crate) async fn fifty_stalled_connections_keep_no_one_waiting(site: &Site) {
    let stalled: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = connect(site);
            stream
                .write_all(b"POST /v1/guest/chat/g1 HTTP/1.1\r\n")
                .unwrap();
            stream
        })
        .collect();
    site.client.say("other", "Hello").await;
    for stream in &stalled {
        until_closed(stream);
    }
    assert_eq!(site.client.stored().await, 1);
}
