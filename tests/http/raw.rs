//! Bytes that no good client sends, over a plain socket. Whatever comes, others must be answered afterwards.

use crate::site::client::said;
use crate::site::server::{Plan, Site};
use guestbook::http::HttpSettings;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What the server of these laws allows.
const LIMIT: Duration = Duration::from_millis(200);
/// What a law waits for an answer or an end; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn impatient() -> Plan {
    Plan {
        http: HttpSettings {
            header_timeout: LIMIT,
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

pub(crate) async fn a_head_that_does_not_end_is_cut_off(site: &Site) {
    let heard = exchange(site, "GET /health HTTP/1.1\r\nHost: x\r\n");
    assert!(
        ["", "408"].contains(&statuses(&heard).first().copied().unwrap_or("")),
        "{heard}"
    );
    serves_on(site).await;
}

pub(crate) async fn a_connection_that_says_nothing_is_closed(site: &Site) {
    assert_eq!(exchange(site, ""), "");
    serves_on(site).await;
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

pub(crate) async fn a_body_that_does_not_end_is_a_408_or_cut_off(site: &Site) {
    let request = post("g1", &hello(), "");
    let heard = exchange(site, &request[..request.len() - 1]);
    let status = statuses(&heard).first().copied().unwrap_or("408");
    assert_eq!(status, "408", "{heard}");
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

/// Requests whose length is not certain: a proxy before us may see another request in them than we do.
pub(crate) async fn a_request_of_two_lengths_is_refused(site: &Site) {
    let body = hello();
    let ambiguous = [
        post("g1", &body, "Transfer-Encoding: chunked\r\n"),
        post("g1", &body, "Content-Length: 5\r\n"),
        post("g1", &body, "Transfer-Encoding: identity\r\n"),
        post("g1", &body, "Transfer-Encoding: chunked, identity\r\n"),
        post("g1", &body, "").replace("Content-Length: ", "Content-Length: +"),
        post("g1", &body, "").replace("Content-Length: ", "Content-Length: -"),
        post("g1", &body, "").replace("Content-Length: ", "Content-Length : "),
    ];
    for request in ambiguous {
        let heard = exchange(site, &request);
        let status = statuses(&heard).first().copied().unwrap_or("400");
        assert_eq!(status, "400", "{request}\n{heard}");
        assert!(
            statuses(&heard).len() <= 1,
            "a second request was seen: {heard}"
        );
    }
    serves_on(site).await;
}

pub(crate) async fn nothing_is_smuggled_behind_a_chunked_body(site: &Site) {
    let inner = post("smuggled", &hello(), "");
    let request = format!(
        "POST /v1/guest/chat/g1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
    );
    let heard = exchange(site, request);
    assert!(!heard.contains("saved"), "{heard}");
    serves_on(site).await;
}

pub(crate) async fn lines_that_end_without_a_carriage_return_are_answered_once_or_refused(
    site: &Site,
) {
    let heard = exchange(site, "GET /health HTTP/1.1\nHost: x\n\n");
    let status = statuses(&heard);
    assert!(
        [vec!["200"], vec!["400"], vec![]].contains(&status),
        "{heard}"
    );
    serves_on(site).await;
}

pub(crate) async fn a_head_without_measure_is_refused(site: &Site) {
    let huge = "x".repeat(1 << 20);
    let one = format!("GET /health HTTP/1.1\r\nHost: x\r\nX-Huge: {huge}\r\n\r\n");
    let many = "X-A: b\r\n".repeat(20_000);
    let many = format!("GET /health HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    let path = format!("GET /{huge} HTTP/1.1\r\nHost: x\r\n\r\n");
    for request in [one, many, path] {
        let heard = exchange(site, request);
        let status = statuses(&heard).first().copied().unwrap_or("431");
        assert!(["400", "414", "431"].contains(&status), "{status}");
    }
    serves_on(site).await;
}

pub(crate) async fn what_is_no_http_is_refused(site: &Site) {
    let garbage: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /he\x00alth HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for bytes in garbage {
        let heard = exchange(site, bytes);
        assert!(!statuses(&heard).contains(&"200"), "{heard}");
        assert!(
            !statuses(&heard)
                .iter()
                .any(|status| status.starts_with('5')),
            "{heard}"
        );
    }
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
    assert_eq!(crate::site::client::sequences(&history), dense);
}

pub(crate) async fn dots_alone_are_guest_ids_too(site: &Site) {
    for guest in [".", "..", "%2e%2E"] {
        let heard = exchange(site, post(guest, &hello(), "Connection: close\r\n"));
        assert_eq!(statuses(&heard), ["200"], "{guest}: {heard}");
    }
    let heard = exchange(
        site,
        "GET /v1/guest/chat/.. HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(heard.matches("\"sequence\"").count(), 2, "{heard}");
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
