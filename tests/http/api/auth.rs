//! Routes × methods × keys: what a server with a key lets pass. The cells come from the table that the router is made of, so that
//! no route can be left out, nor be let through without anybody having said so.
//!
//! Put in by hand and caught, each by the first law: a guarded route entered as open in the table ("401 expected: GET
//! /v1/verify []"), `Basic` taken for `Bearer`, the first of two headers believed, and another answer for a wrong key than for
//! none ("another answer"). A route added to the router beside the table is refused by tests/repo_lint/rules.

use guestbook::http::{HttpSettings, RouteAccess, routes};
use guestbook_testkit::http_harness::client::{Answer, Client};
use guestbook_testkit::http_harness::server::{Plan, Site};
use reqwest::header::HeaderValue;
use std::collections::BTreeMap;

const KEY: &str = "s3cret-key";

pub(crate) fn with_a_key() -> Plan {
    Plan {
        http: HttpSettings {
            api_key: Some(KEY.parse().unwrap()),
            ..HttpSettings::default()
        },
        ..Plan::default()
    }
}

/// What is sent as `Authorization`, header by header. The first is no key, the next ones are wrong, the others malformed.
const WRONG: [&[&[u8]]; 23] = [
    &[],
    &[b"Bearer wrong"],
    &[b"Bearer s3cret-ke"],
    &[b"Bearer s3cret-keyy"],
    &[b"Bearer S3CRET-KEY"],
    &[b"Bearer s3cret-key s3cret-key"],
    &[b"Bearer"],
    &[b"Bearer "],
    &[b""],
    &[b"s3cret-key"],
    &[b"Basic s3cret-key"],
    &[b"Basic OnMzY3JldC1rZXk="],
    &[b"Bearer: s3cret-key"],
    &[b"Bearer\ts3cret-key"],
    &[b"Bearers3cret-key"],
    &[b"Bearer \"s3cret-key\""],
    &[b"Bearer s3cret-key, Bearer s3cret-key"],
    &[b"Bearer s3cret-key", b"Bearer s3cret-key"],
    &[b"Bearer s3cret-key", b"Bearer wrong"],
    &[b"Bearer wrong", b"Bearer s3cret-key"],
    &[b"Bearer s3cret-key", b""],
    &[b"Bearer s3cret-k\xc3\xa9y"],
    &[b"Bearer \xff\xfe"],
];
/// What HTTP takes as the same: a scheme has no case, and spaces around a value are none of it.
const RIGHT: [&[&[u8]]; 4] = [
    &[b"Bearer s3cret-key"],
    &[b"bearer s3cret-key"],
    &[b"BEARER s3cret-key"],
    &[b"Bearer s3cret-key "],
];
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
];
const UNKNOWN: [&str; 5] = ["/", "/v1", "/v1/nothing", "/v1/guest/chat/", "/healthy"];

/// Every path, its segments filled in, with the methods it has and who may use it.
pub(crate) fn paths() -> BTreeMap<String, (Vec<String>, RouteAccess)> {
    let segments = [
        ("{guest_id}", "g1"),
        ("{user_id}", "u1"),
        ("{id}", "0192f0c1-2345-7000-8000-0123456789ab"),
    ];
    let mut paths: BTreeMap<String, (Vec<String>, RouteAccess)> = BTreeMap::new();
    for route in routes() {
        let path = segments
            .iter()
            .fold(route.path.to_owned(), |path, (name, value)| {
                path.replace(name, value)
            });
        assert!(
            !path.contains('{'),
            "say what stands for the segment of {path}"
        );
        let entry = paths.entry(path).or_insert((Vec::new(), route.access));
        assert_eq!(
            entry.1, route.access,
            "{} is open by one method and guarded by another",
            route.path
        );
        entry.0.push(route.method.to_string());
    }
    paths
}

async fn send(client: &Client, method: &str, path: &str, keys: &[&[u8]]) -> Answer {
    let mut request = client.request(method, path);
    for key in keys {
        request = request.header("Authorization", HeaderValue::from_bytes(key).unwrap());
    }
    Answer::of(request.body("{}")).await
}

/// All of an answer that a client could tell it from another by.
fn all_of(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    let headers = headers.map(|(name, value)| (name.to_string(), text(value)));
    (answer.status, headers.collect(), answer.body.clone())
}

fn assert_unauthorized(answer: &Answer, method: &str, cell: &str) {
    assert_eq!(
        answer.status,
        401,
        "401 expected: {cell}: {}",
        answer.text()
    );
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{cell}");
    match method {
        "HEAD" => assert!(answer.body.is_empty(), "{cell}"),
        _ => drop(answer.problem(401)),
    }
    assert!(!answer.text().contains(KEY));
}

/// One cell of the table; `first` is the first refusal there was.
async fn assert_refused(site: &Site, method: &str, path: &str, first: &mut Option<Answer>) {
    for keys in WRONG {
        let shown: Vec<_> = keys
            .iter()
            .map(|key| String::from_utf8_lossy(key))
            .collect();
        let cell = format!("{method} {path} {shown:?}");
        let answer = send(&site.client, method, path, keys).await;
        assert_unauthorized(&answer, method, &cell);
        let first = first.get_or_insert_with(|| answer.clone());
        let (mut expected, found) = (all_of(first), all_of(&answer));
        if method == "HEAD" {
            expected.2.clear();
        }
        assert_eq!(found, expected, "another answer: {cell}");
    }
}

pub(crate) async fn every_cell_but_that_of_the_right_key_has_one_and_the_same_401(site: &Site) {
    let mut first = None;
    let mut cells = 0;
    for (path, (_, access)) in paths() {
        for method in METHODS {
            cells += WRONG.len();
            match access {
                RouteAccess::Guarded => assert_refused(site, method, &path, &mut first).await,
                RouteAccess::Open => assert_open(site, method, &path).await,
            }
        }
    }
    for path in UNKNOWN {
        for method in METHODS {
            cells += WRONG.len();
            assert_refused(site, method, path, &mut first).await;
        }
    }
    println!(
        "figure: access: {cells} cells of {} routes, 0 unexpected",
        routes().len()
    );
}

/// What watches the process has no key, and whatever it sends as one is none of our business.
async fn assert_open(site: &Site, method: &str, path: &str) {
    let expected = if ["GET", "HEAD"].contains(&method) {
        200
    } else {
        405
    };
    for keys in WRONG.into_iter().chain(RIGHT) {
        let answer = send(&site.client, method, path, keys).await;
        assert_eq!(answer.status, expected, "{method} {path}");
    }
}

pub(crate) async fn only_health_and_readiness_are_open(_: &Site) {
    let open: Vec<_> = paths()
        .into_iter()
        .filter(|(_, (_, access))| *access == RouteAccess::Open)
        .collect();
    let open: Vec<_> = open.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(open, ["/health", "/readyz"]);
}

pub(crate) async fn the_right_key_opens_every_route(site: &Site) {
    for (path, (methods, _)) in paths() {
        for method in METHODS {
            for keys in RIGHT {
                let answer = send(&site.client, method, &path, keys).await;
                let has = methods.iter().any(|has| has == method)
                    || (method == "HEAD" && methods[0] == "GET");
                let cell = format!("{method} {path}: {} {}", answer.status, answer.text());
                assert_eq!(answer.status == 405, !has, "{cell}");
                assert!(
                    ![401, 403].contains(&answer.status) && answer.status < 500,
                    "{cell}"
                );
            }
        }
    }
}

pub(crate) async fn an_unknown_route_is_a_404_for_who_has_the_key(site: &Site) {
    for path in UNKNOWN {
        send(&site.client, "GET", path, RIGHT[0]).await.problem(404);
    }
}

pub(crate) async fn nothing_is_stored_or_read_without_the_key(site: &Site) {
    let message = guestbook_testkit::http_harness::client::said("user", "Hello").to_string();
    let post = |keys: &'static [&'static [u8]]| {
        let mut request = site.client.request("POST", "/v1/guest/chat/g1");
        for key in keys {
            request = request.header("Authorization", HeaderValue::from_bytes(key).unwrap());
        }
        Answer::of(guestbook_testkit::http_harness::client::json_body(
            request,
            message.clone(),
        ))
    };
    for keys in WRONG {
        assert_unauthorized(&post(keys).await, "POST", "post");
    }
    let report = send(&site.client, "GET", "/v1/verify", RIGHT[0]).await.ok();
    assert_eq!(
        guestbook_testkit::http_harness::client::found(&report, "message_cache"),
        0
    );
    post(RIGHT[0]).await.ok();
    // Also not what is held because it was just read.
    let read = async |keys| send(&site.client, "GET", "/v1/guest/chat/g1", keys).await;
    for _ in 0..4 {
        assert_eq!(read(RIGHT[0]).await.list().len(), 1);
    }
    for keys in WRONG {
        assert_unauthorized(&read(keys).await, "GET", "read");
    }
}

pub(crate) async fn a_server_without_a_key_asks_nobody_for_one(site: &Site) {
    for (path, (methods, _)) in paths() {
        for method in methods {
            for keys in WRONG {
                let answer = send(&site.client, &method, &path, keys).await;
                assert_ne!(answer.status, 401, "{method} {path}");
            }
        }
    }
}
