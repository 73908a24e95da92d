//! Section 1: what is refused, and that nothing of it is stored.

use guestbook_testkit::http_harness::client::{Answer, chat, said, with, without};
use guestbook_testkit::http_harness::server::Site;
use serde_json::{Value, json};

/// Posts what must be refused for one field; nothing may be stored.
async fn refused(site: &Site, message: &Value, field: &str) {
    site.client.message("g1", message).await.refuses(field);
    nothing_stored(site, "g1").await;
}

/// A guest that nothing is known of, in no store.
pub(crate) async fn nothing_stored(site: &Site, guest: &str) {
    assert_eq!(site.client.history(guest).await, [] as [Value; 0]);
    let session = format!("/v1/guest/session/{guest}");
    site.client.get(&session).await.problem(404);
    let report = site.client.verify(Some(guest)).await;
    for table in report["tables"].as_array().unwrap() {
        // The hours are shared by all guests.
        let shared = table["table"] == "cache_metrics";
        assert!(shared || table["found"] == 0, "{table}");
    }
    assert_eq!(site.client.stored().await, 0);
}

pub(crate) async fn role_and_content_are_required(site: &Site) {
    for field in ["role", "content"] {
        let message = said("user", "Hello");
        refused(site, &without(message.clone(), field), field).await;
        refused(site, &with(message, field, Value::Null), field).await;
    }
}

pub(crate) async fn every_field_is_a_string(site: &Site) {
    for field in ["role", "content", "timestamp", "id"] {
        for wrong in [json!(7), json!(true), json!(["user"]), json!({"a": 1})] {
            refused(site, &with(said("user", "Hello"), field, wrong), field).await;
        }
    }
}

pub(crate) async fn a_role_of_another_spelling_is_refused(site: &Site) {
    for role in ["", "User", "USER", "bot", "user ", "function"] {
        refused(site, &said(role, "Hello"), "role").await;
    }
}

pub(crate) async fn blank_content_is_refused(site: &Site) {
    for content in ["", " ", "\n\t\r", "\u{a0}\u{2003}\u{3000}"] {
        refused(site, &said("user", content), "content").await;
    }
}

pub(crate) async fn content_with_nul_is_refused(site: &Site) {
    for content in ["\0", "a\0b", "end\0"] {
        refused(site, &said("user", content), "content").await;
    }
}

pub(crate) async fn content_over_65536_bytes_is_refused_and_content_of_them_is_kept(site: &Site) {
    refused(site, &said("user", &"x".repeat(65_537)), "content").await;
    refused(site, &said("user", &"é".repeat(32_769)), "content").await;
    for content in ["x".repeat(65_535), "x".repeat(65_536), "é".repeat(32_768)] {
        site.client.say("g1", &content).await;
        let history = site.client.history("g1").await;
        assert_eq!(history.last().unwrap()["content"], content);
    }
}

pub(crate) async fn what_is_no_rfc_3339_time_is_refused(site: &Site) {
    let wrong = [
        "",
        "now",
        "2025-12-21",
        "12:00:00Z",
        "2025-13-01T00:00:00Z",
        "2025-02-30T00:00:00Z",
        "2025-12-21T25:00:00Z",
        "2025-12-21T12:00:00+25:00",
        "2025-12-21T12:00:00 UTC",
        "1766318400",
        "12025-12-21T12:00:00Z",
    ];
    for timestamp in wrong {
        let message = with(said("user", "Hello"), "timestamp", json!(timestamp));
        refused(site, &message, "timestamp").await;
    }
}

pub(crate) async fn times_come_back_as_utc_to_the_millisecond(site: &Site) {
    let times = [
        ("2025-12-21T12:00:00Z", "2025-12-21T12:00:00Z"),
        ("2025-12-21T12:00:00.5Z", "2025-12-21T12:00:00.500Z"),
        ("2025-12-21T12:00:00.123456789Z", "2025-12-21T12:00:00.123Z"),
        ("2025-12-21T12:00:00.9999999Z", "2025-12-21T12:00:00.999Z"),
        ("2025-12-21T12:00:00+02:00", "2025-12-21T10:00:00Z"),
        ("2025-12-31T23:30:00-01:00", "2026-01-01T00:30:00Z"),
        ("2025-12-21T12:00:00+05:45", "2025-12-21T06:15:00Z"),
        ("2025-12-21T12:00:00", "2025-12-21T12:00:00Z"),
        ("2025-12-21T12:00:00.25", "2025-12-21T12:00:00.250Z"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
    ];
    for (sent, kept) in times {
        let message = with(said("user", "Hello"), "timestamp", json!(sent));
        site.client.message("g1", &message).await.ok();
        let history = site.client.history("g1").await;
        assert_eq!(history.last().unwrap()["timestamp"], kept, "sent {sent}");
    }
}

pub(crate) async fn the_order_is_that_of_arrival_and_not_of_the_clients_time(site: &Site) {
    for timestamp in ["2025-12-21T12:00:00Z", "2020-01-01T00:00:00Z"] {
        let message = with(said("user", "Hello"), "timestamp", json!(timestamp));
        site.client.message("g1", &message).await.ok();
    }
    let history = site.client.history("g1").await;
    assert_eq!(history[1]["timestamp"], "2020-01-01T00:00:00Z");
}

pub(crate) async fn metadata_must_be_an_object_of_at_most_4_kib_without_nul(site: &Site) {
    let over = "x".repeat(4097 - r#"{"a":""}"#.len());
    let wrong = [
        json!([]),
        json!("text"),
        json!(1),
        json!(false),
        json!({ "a": over }),
        json!({"a": "nul \0"}),
    ];
    for metadata in wrong {
        let message = with(said("user", "Hello"), "metadata", metadata);
        refused(site, &message, "metadata").await;
    }
}

/// A message whose metadata are so many objects and arrays within each other.
fn nested(levels: usize) -> String {
    let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
    let message = with(said("user", "Hello"), "guest_id", json!("g1"));
    let message = message.to_string();
    let message = message.trim_end_matches('}');
    format!(r#"{message},"metadata":{{"a":{open}{close}}}}}"#)
}

pub(crate) async fn metadata_nested_deeper_than_50_levels_is_refused_by_every_route(site: &Site) {
    for levels in [51, 1_900] {
        let deep = nested(levels);
        let refuses = async |path: &str, body: String, field: &str| {
            let answer = site.client.post_text(path, body).await;
            answer.refuses(field);
            assert!(answer.text().contains("50"), "{}", answer.text());
        };
        refuses(&chat("g1"), deep.clone(), "metadata").await;
        let (batch, good) = (format!("{}/batch", chat("g1")), nested(3));
        let messages = format!(r#"{{"messages":[{good},{deep}]}}"#);
        refuses(&batch, messages, "messages[1].metadata").await;
        let line = site
            .client
            .post_text("/v1/messages/batch", format!("[{deep}]"))
            .await;
        let line = line.list().remove(0);
        assert_eq!(
            (&line["status"], &line["field"]),
            (&json!(422), &json!("metadata"))
        );
        nothing_stored(site, "g1").await;
    }
    let deepest = site.client.post_text(&chat("g1"), nested(50)).await;
    assert_eq!(deepest.ok()["sequence"], 0);
    let read = site.client.get(&chat("g1")).await;
    let kept = format!(r#""metadata":{{"a":{}{}}}"#, "[".repeat(49), "]".repeat(49));
    assert!(read.text().contains(&kept), "{}", read.text());
}

/// A message with this metadata, as text: no value of ours could hold them.
fn with_metadata(metadata: &str) -> String {
    let message = with(said("user", "Hello"), "guest_id", json!("g1")).to_string();
    let message = message.trim_end_matches('}');
    format!(r#"{message},"metadata":{metadata}}}"#)
}

pub(crate) async fn metadata_that_other_readers_of_json_could_not_read_are_refused_by_every_route(
    site: &Site,
) {
    for metadata in [
        r#"{"n":"\ud83d"}"#,
        r#"{"n":["\ude00\ud83d"]}"#,
        r#"{"\ud83d":1}"#,
        r#"{"a":{"\u0000":1}}"#,
        r#"{"n":1e999}"#,
        r#"{"n":[-1E400]}"#,
    ] {
        let wrong = with_metadata(metadata);
        let answer = site.client.post_text(&chat("g1"), wrong.clone()).await;
        answer.refuses("metadata");
        let batch = format!(r#"{{"messages":[{},{wrong}]}}"#, with_metadata("{}"));
        let path = format!("{}/batch", chat("g1"));
        let answer = site.client.post_text(&path, batch).await;
        answer.refuses("messages[1].metadata");
        let lines = site
            .client
            .post_text("/v1/messages/batch", format!("[{wrong}]"));
        let line = lines.await.list().remove(0);
        assert_eq!(
            (&line["status"], &line["field"]),
            (&json!(422), &json!("metadata"))
        );
    }
    nothing_stored(site, "g1").await;
    // What they can read comes back byte for byte.
    let kept = r#"{"n":9007199254740993,"e":-1.50E+2,"a":1,"a":"\ud83d\ude00\\ud83d\u0001"}"#;
    site.client
        .post_text(&chat("g1"), with_metadata(kept))
        .await
        .ok();
    let read = site.client.get(&chat("g1")).await;
    assert!(
        read.text().contains(&format!(r#""metadata":{kept}"#)),
        "{}",
        read.text()
    );
}

pub(crate) async fn texts_with_half_a_character_are_refused_and_named(site: &Site) {
    let half = |field: &str| {
        let message = with(said("user", "Hello"), "guest_id", json!("g1"));
        let message = with(message, field, json!("HALF")).to_string();
        message.replace("HALF", r"a\ud83d")
    };
    for field in ["role", "content", "timestamp", "id"] {
        let answer = site.client.post_text(&chat("g1"), half(field)).await;
        answer.refuses(field);
    }
    for field in ["guest_id", "content"] {
        let lines = site
            .client
            .post_text("/v1/messages/batch", half(field))
            .await;
        assert_eq!(lines.lines()[0]["field"], field);
    }
    let named = r#"{"\ud83d":1,"role":"user"}"#;
    site.client
        .post_text(&chat("g1"), named)
        .await
        .refuses("body");
    let user = r#"{"authenticated_user_id":"\ud83d"}"#;
    let answer = site.client.post_text("/v1/guest/migrate/g1", user).await;
    answer.refuses("authenticated_user_id");
    let asked = r#"{"scope":"tenant:a","model":"m","prompt":"p","response":"r"}"#;
    for (field, value) in [
        ("scope", "tenant:a"),
        ("model", "m"),
        ("prompt", "p"),
        ("response", "r"),
    ] {
        for wrong in [r"\ud83d", r"\u0000"] {
            let body = asked.replace(&format!("\"{value}\""), &format!("\"{value}{wrong}\""));
            let request = site.client.request("PUT", "/v1/cache");
            let answer = Answer::of(guestbook_testkit::http_harness::client::json_body(
                request, body,
            ))
            .await;
            answer.refuses(field);
        }
    }
    nothing_stored(site, "g1").await;
}

pub(crate) async fn dots_alone_are_refused_wherever_an_id_is_taken(site: &Site) {
    for dots in [".", ".."] {
        let line = with(said("user", "Hello"), "guest_id", json!(dots));
        let lines = site.client.post("/v1/messages/batch", &json!([line])).await;
        let line = lines.list().remove(0);
        assert_eq!(
            (&line["status"], &line["field"]),
            (&json!(422), &json!("guest_id"))
        );
        let user = json!({"authenticated_user_id": dots});
        let answer = site.client.post("/v1/guest/migrate/g1", &user).await;
        answer.refuses("authenticated_user_id");
        let scope = format!("guest:{dots}");
        for (field, scope, guest) in [
            ("scope.guest_id", &*scope, "g1"),
            ("guest_id", "tenant:a", dots),
        ] {
            let asked = json!({"scope": scope, "model": "m", "prompt": "p", "guest_id": guest});
            let answer = site.client.post("/v1/cache/lookup", &asked).await;
            answer.refuses(field);
        }
    }
    nothing_stored(site, "g1").await;
}

pub(crate) async fn an_idempotency_key_is_1_to_255_printable_characters(site: &Site) {
    let path = chat("g1");
    for key in ["", "   ", &"k".repeat(256), "é"] {
        let answer = site
            .client
            .post_keyed(&path, key, &said("user", "Hello"))
            .await;
        answer.refuses("Idempotency-Key");
    }
    nothing_stored(site, "g1").await;
    let longest = "k".repeat(255);
    let answer = site
        .client
        .post_keyed(&path, &longest, &said("user", "Hello"))
        .await;
    answer.ok();
}

pub(crate) async fn two_idempotency_keys_are_refused(site: &Site) {
    let request = site.client.request("POST", &chat("g1"));
    let request = request.header("Idempotency-Key", "a");
    let request = request.header("Idempotency-Key", "b");
    let body = said("user", "Hello").to_string();
    let answer = Answer::of(guestbook_testkit::http_harness::client::json_body(
        request, body,
    ))
    .await;
    answer.refuses("Idempotency-Key");
    nothing_stored(site, "g1").await;
}

pub(crate) async fn illegal_guest_ids_are_refused_by_every_route_of_a_guest(site: &Site) {
    let long = "g".repeat(129);
    let illegal = [
        "a%20b", "a%2Fb", "%C3%A9", "a%00b", "a%0Ab", "a+b", "a!b", "%FF", &long,
    ];
    for guest in illegal {
        let message = said("user", "Hello");
        let migration = json!({"authenticated_user_id": "u1"});
        let answers = [
            site.client.message(guest, &message).await,
            site.client.get(&chat(guest)).await,
            site.client.delete(&chat(guest)).await,
            site.client.get(&format!("/v1/guest/session/{guest}")).await,
            site.client.get(&format!("/v1/guest/verify/{guest}")).await,
            site.client
                .post(&format!("/v1/guest/migrate/{guest}"), &migration)
                .await,
            site.client
                .post(
                    &format!("{}/batch", chat(guest)),
                    &json!({"messages": [message]}),
                )
                .await,
        ];
        for answer in answers {
            answer.refuses("guest_id");
        }
    }
    assert_eq!(site.client.stored().await, 0);
}

pub(crate) async fn every_legal_character_makes_a_guest_id(site: &Site) {
    let legal = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~:@-";
    for guest in [
        legal,
        "~",
        ":",
        "@",
        "-",
        "0",
        "a:b@c.d~e_f-g",
        &"g".repeat(128),
    ] {
        let answer = site.client.say(guest, "Hello").await;
        assert_eq!(answer["guest_id"], guest);
        assert_eq!(site.client.history(guest).await.len(), 1);
        let session = site.client.get(&format!("/v1/guest/session/{guest}")).await;
        assert_eq!(session.ok()["guest_id"], guest);
    }
}

pub(crate) async fn a_percent_encoded_guest_id_is_the_same_guest(site: &Site) {
    site.client.say("a:b@c~d", "plain").await;
    let answer = site.client.say("%61%3Ab%40c%7Ed", "encoded").await;
    assert_eq!(answer["guest_id"], "a:b@c~d");
    assert_eq!(answer["sequence"], 1);
}

pub(crate) async fn the_case_of_a_guest_id_is_kept(site: &Site) {
    let upper = site.client.say("Guest", "Hello").await;
    let lower = site.client.say("guest", "Hello").await;
    assert_eq!(
        (&upper["guest_id"], &lower["sequence"]),
        (&json!("Guest"), &json!(0))
    );
    assert_ne!(upper["conversation_id"], lower["conversation_id"]);
}
