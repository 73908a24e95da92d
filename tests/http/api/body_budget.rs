//! Section 1: bodies that are no message at all.

use crate::api::input::nothing_stored;
use crate::api::raw::exchange;
use guestbook::http::HttpSettings;
use guestbook_testkit::http_harness::client::{Answer, chat, said};
use guestbook_testkit::http_harness::server::{Plan, Site};
use serde_json::{Value, json};

/// The limit of the laws about large bodies, in bytes.
const BODY_LIMIT: usize = 2000;

pub(crate) fn small_bodies() -> Plan {
    Plan {
        http: HttpSettings {
            body_limit: BODY_LIMIT,
            ..HttpSettings::default()
        },
        ..Plan::default()
    }
}

/// Every route that takes a body.
const WITH_BODY: [&str; 4] = [
    "/v1/guest/chat/g1",
    "/v1/guest/chat/g1/batch",
    "/v1/messages/batch",
    "/v1/guest/migrate/g1",
];

/// A message of one guest whose JSON text has exactly so many bytes.
fn of_size(bytes: usize) -> String {
    let empty = said("user", "").to_string().len();
    said("user", &"x".repeat(bytes - empty)).to_string()
}

pub(crate) async fn malformed_json_is_a_400(site: &Site) {
    let broken = [
        "",
        "{",
        "{\"role\":",
        "{'role':'user'}",
        "not json",
        "{\"role\":\"user\"}}",
        "{\"role\":\"user\",}",
        "{\"content\":\"\\x\"}",
        "{\"content\":\"raw \n newline\"}",
        "{}\u{feff}",
    ];
    for body in broken {
        for path in [WITH_BODY[0], WITH_BODY[1], WITH_BODY[3]] {
            site.client.post_text(path, body).await.problem(400);
        }
    }
    nothing_stored(site, "g1").await;
}

pub(crate) async fn a_malformed_array_of_messages_is_a_400(site: &Site) {
    for body in ["[", "[{]", "[{},]", "[{}] []"] {
        site.client.post_text(WITH_BODY[2], body).await.problem(400);
    }
}

pub(crate) async fn a_body_that_is_not_utf_8_is_a_400(site: &Site) {
    let body = b"{\"role\":\"user\",\"content\":\"\xff\xfe\"}";
    for path in [WITH_BODY[0], WITH_BODY[1], WITH_BODY[3]] {
        site.client
            .post_text(path, body.to_vec())
            .await
            .problem(400);
    }
    let array = [b"[", &body[..], b"]"].concat();
    site.client
        .post_text(WITH_BODY[2], array)
        .await
        .problem(400);
    nothing_stored(site, "g1").await;
}

pub(crate) async fn json_that_is_no_object_is_a_422(site: &Site) {
    let array = json!([null, "user", "Hello", "2025-12-21T12:00:00Z", null, null]);
    for body in [json!([]), json!(null), json!("text"), json!(1), array] {
        for path in [WITH_BODY[0], WITH_BODY[1], WITH_BODY[3]] {
            site.client.post(path, &body).await.refuses("body");
        }
    }
    nothing_stored(site, "g1").await;
}

pub(crate) async fn an_array_is_no_message_within_a_batch(site: &Site) {
    let array = json!([null, "user", "Hello", "2025-12-21T12:00:00Z", null, null]);
    let batch = site
        .client
        .post(WITH_BODY[1], &json!({"messages": [array]}))
        .await;
    batch.refuses("messages[0]");
    let array = json!([["g1", "user", "Hello", "2025-12-21T12:00:00Z", null, null]]);
    let lines = site.client.post(WITH_BODY[2], &array).await.list();
    assert_eq!(lines[0]["status"], 422, "{lines:?}");
    nothing_stored(site, "g1").await;
}

pub(crate) async fn a_body_nested_100_000_deep_is_answered(site: &Site) {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let message = format!("{{\"role\":\"user\",\"metadata\":{deep}}}");
        for path in WITH_BODY {
            for body in [&deep, &message] {
                let answer = site.client.post_text(path, body.clone()).await;
                assert!(answer.status < 500, "{path}: {}", answer.text());
            }
        }
    }
    nothing_stored(site, "g1").await;
}

pub(crate) async fn a_body_of_another_type_is_a_415(site: &Site) {
    let types = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "json",
        "",
    ];
    for path in WITH_BODY {
        for kind in types {
            let request = site
                .client
                .request("POST", path)
                .header("Content-Type", kind);
            let answer = Answer::of(request.body(said("user", "Hello").to_string())).await;
            answer.problem(415);
        }
    }
    nothing_stored(site, "g1").await;
}

pub(crate) async fn json_by_any_of_its_names_is_taken(site: &Site) {
    let types = [
        "application/json",
        "APPLICATION/JSON; charset=utf-8",
        "application/vnd.api+json",
    ];
    for kind in types {
        let request = site
            .client
            .request("POST", &chat("g1"))
            .header("Content-Type", kind);
        Answer::of(request.body(said("user", "Hello").to_string()))
            .await
            .ok();
    }
    let untyped = site.client.request("POST", &chat("g1"));
    Answer::of(untyped.body(said("user", "Hello").to_string()))
        .await
        .ok();
    assert_eq!(site.client.history("g1").await.len(), 4);
}

pub(crate) async fn a_body_over_the_limit_is_a_413_and_one_of_it_is_taken(site: &Site) {
    for path in WITH_BODY {
        let body = of_size(BODY_LIMIT + 1);
        site.client.post_text(path, body).await.problem(413);
    }
    nothing_stored(site, "g1").await;
    let answer = site
        .client
        .post_text(&chat("g1"), of_size(BODY_LIMIT))
        .await;
    answer.ok();
}

pub(crate) async fn a_chunked_body_over_the_limit_is_a_413(site: &Site) {
    let head = "POST /v1/guest/chat/g1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = of_size(BODY_LIMIT);
    let heard = exchange(
        site,
        format!("{head}{:x}\r\n{body}\r\n1\r\n \r\n0\r\n\r\n", body.len()),
    );
    assert!(heard.starts_with("HTTP/1.1 413 "), "{heard}");
    nothing_stored(site, "g1").await;
}

pub(crate) async fn a_byte_order_mark_before_json_is_skipped(site: &Site) {
    let marked = |body: Value| format!("\u{feff}{body}");
    let message = marked(said("user", "Hello"));
    site.client
        .post_text(&chat("g1"), message.clone())
        .await
        .ok();
    site.client
        .post_text(&chat("g1"), format!("\u{feff}{message}"))
        .await
        .problem(400);
    let batch = marked(json!({"messages": [said("user", "again")]}));
    let path = format!("{}/batch", chat("g1"));
    site.client.post_text(&path, batch).await.list();
    let user = marked(json!({"authenticated_user_id": "u1"}));
    let migrated = site
        .client
        .post_text("/v1/guest/migrate/g1", user)
        .await
        .ok();
    assert_eq!(migrated["messages_migrated"], 2);
    site.client
        .post_text(&chat("g1"), "\u{feff}")
        .await
        .problem(400);
}
