//! Routes × keys: what a server with a key lets pass.

use crate::problems::ROUTES;
use crate::site::client::{Answer, Client};
use crate::site::server::{Plan, Site};
use guestbook::http::HttpSettings;

const KEY: &str = "s3cret-key";

pub(crate) fn with_a_key() -> Plan {
    Plan {
        http: HttpSettings {
            api_key: Some(KEY.into()),
            ..HttpSettings::default()
        },
        ..Plan::default()
    }
}

/// What is sent as `Authorization`, header by header.
const WRONG: [&[&str]; 12] = [
    &[],
    &["Bearer wrong"],
    &["Bearer s3cret-ke"],
    &["Bearer s3cret-keyy"],
    &["Bearer S3CRET-KEY"],
    &["Bearer"],
    &["Bearer "],
    &["s3cret-key"],
    &["Basic s3cret-key"],
    &["Bearer: s3cret-key"],
    &["Bearer s3cret-key", "Bearer s3cret-key"],
    &["Bearer s3cret-key, Bearer s3cret-key"],
];
const RIGHT: [&[&str]; 2] = [&["Bearer s3cret-key"], &["bearer s3cret-key"]];

async fn send(client: &Client, method: &str, path: &str, keys: &[&str]) -> Answer {
    let mut request = client.request(method, path);
    for key in keys {
        request = request.header("Authorization", *key);
    }
    Answer::of(request.body("{}")).await
}

fn assert_unauthorized(answer: &Answer, cell: &str) {
    assert_eq!(answer.status, 401, "{cell}: {}", answer.text());
    answer.problem(401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{cell}");
    assert!(!answer.text().contains(KEY));
}

fn is_open(path: &str) -> bool {
    ["/health", "/readyz"].contains(&path)
}

pub(crate) async fn every_route_but_health_wants_the_right_key(site: &Site) {
    for (path, methods) in ROUTES {
        for method in methods {
            for keys in WRONG {
                let cell = format!("{method} {path} {keys:?}");
                let answer = send(&site.client, method, path, keys).await;
                if is_open(path) {
                    assert_eq!(answer.status, 200, "{cell}");
                } else {
                    assert_unauthorized(&answer, &cell);
                }
            }
        }
    }
}

pub(crate) async fn the_right_key_opens_every_route(site: &Site) {
    for (path, methods) in ROUTES {
        for method in methods {
            for keys in RIGHT {
                let answer = send(&site.client, method, path, keys).await;
                let refused = [401, 403, 405].contains(&answer.status);
                assert!(!refused, "{method} {path} {keys:?}: {}", answer.text());
            }
        }
    }
}

pub(crate) async fn a_method_a_route_does_not_have_wants_the_key_as_well(site: &Site) {
    for (path, _) in ROUTES.iter().filter(|(path, _)| !is_open(path)) {
        let answer = send(&site.client, "PUT", path, &[]).await;
        assert_unauthorized(&answer, path);
        let answer = send(&site.client, "PUT", path, RIGHT[0]).await;
        answer.problem(405);
    }
}

pub(crate) async fn an_unknown_route_is_a_404_with_and_without_key(site: &Site) {
    for keys in [&[] as &[&str], RIGHT[0]] {
        for path in ["/", "/v1/nothing", "/v1/guest/chat/"] {
            send(&site.client, "GET", path, keys).await.problem(404);
        }
    }
}

pub(crate) async fn nothing_is_stored_or_read_without_the_key(site: &Site) {
    let message = crate::site::client::said("user", "Hello").to_string();
    let post = |keys: &'static [&'static str]| {
        let mut request = site.client.request("POST", "/v1/guest/chat/g1");
        for key in keys {
            request = request.header("Authorization", *key);
        }
        Answer::of(crate::site::client::json_body(request, message.clone()))
    };
    assert_unauthorized(&post(&[]).await, "post");
    let report = send(&site.client, "GET", "/v1/verify", RIGHT[0]).await.ok();
    assert_eq!(crate::site::client::found(&report, "message_cache"), 0);
    post(RIGHT[0]).await.ok();
}
