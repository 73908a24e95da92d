//! The laws of whole requests: the real router over a real service, with stores in memory, which are new for each input.
//!
//! The first byte of an input says what the rest is: lines of messages for every guest, a guest's batch, a path, a query,
//! a key of idempotency.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use guestbook::core::{Clock, ManualClock, Timestamp, Ttl};
use guestbook::http::{HttpSettings, router};
use guestbook::service::{Service, ServiceParts, Settings};
use guestbook::storage::Stores;
use guestbook::storage::database::TableSettings;
use guestbook::storage::memory::{MemoryDatabase, MemoryLists};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

const CONTENT_LIMIT: usize = 256;
const BODY_LIMIT: usize = 1 << 20;
/// So many messages a page of what the laws read again.
const PAGE: usize = 2;

/// Sends an input in one of the ways there are.
pub(crate) async fn requests(data: &[u8]) {
    let Some((way, rest)) = data.split_first() else {
        return;
    };
    match way {
        b'l' => lines(rest).await,
        b'b' => batch(rest).await,
        b'p' => path(rest).await,
        b'q' => query(rest).await,
        b'k' => key(rest).await,
        _ => {}
    }
}

/// A service nobody else uses. It ends with its runtime.
struct Site(axum::Router, Service);

impl Site {
    fn new() -> Self {
        let tables = TableSettings {
            list_ttl: Ttl(Duration::from_secs(3600)),
            retention: None,
            model: None,
            cache_backend: "memory",
            text_index: false,
        };
        let noon = Timestamp::parse("2100-06-15T12:00:00Z").expect("a time");
        let parts = ServiceParts {
            database: Stores::of(Arc::new(MemoryDatabase::new(tables))),
            lists: Arc::new(MemoryLists::new()),
            embedder: None,
            clock: Arc::new(ManualClock::new(noon)) as Arc<dyn Clock>,
        };
        let service = Service::start(parts, Settings::default());
        let http = HttpSettings {
            content_limit: CONTENT_LIMIT,
            body_limit: BODY_LIMIT,
            ..HttpSettings::default()
        };
        Self(router(service.clone(), http), service)
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Vec<u8>) {
        let answer = self
            .0
            .clone()
            .oneshot(request)
            .await
            .expect("the router never fails");
        let status = answer.status();
        assert!(!status.is_server_error(), "{status}");
        let body = to_bytes(answer.into_body(), usize::MAX)
            .await
            .expect("a body in memory");
        (status, body.to_vec())
    }

    async fn post(&self, path: &str, kind: &str, body: String) -> (StatusCode, Vec<u8>) {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body));
        self.send(request.expect("a request")).await
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let (status, body) = self.send(request).await;
        (status, json_of(&body))
    }

    async fn stop(self) {
        self.1.stop().await.expect("memory never fails");
    }
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("every answer is JSON")
}

/// Lines and an array are two forms of one batch: each message has the same answer in its place.
async fn lines(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let all: Vec<_> = text
        .strip_prefix('\u{feff}') // skipped before a text, and nowhere else
        .unwrap_or(text)
        .lines()
        .map(|line| line.trim_matches([' ', '\t', '\r']))
        .collect();
    let all: Vec<_> = all
        .into_iter()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let site = Site::new();
    let (status, body) = site
        .post("/v1/messages/batch", "application/x-ndjson", text.into())
        .await;
    assert_eq!(status, StatusCode::OK);
    let answers: Vec<Value> = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(json_of)
        .collect();
    assert_eq!(answers.len(), all.len(), "one answer line per line");
    let is_json = |line: &&str| serde_json::from_str::<IgnoredAny>(line).is_ok();
    for (line, answer) in all.iter().zip(&answers) {
        let is_saved = answer["status"] == "saved";
        assert!(
            is_saved || [400, 409, 422].map(Value::from).contains(&answer["status"]),
            "{answer}"
        );
        match answer["status"] == 400 {
            true => assert!(!is_json(line) || !is_readable(line), "{answer}"),
            false => assert!(is_json(line), "{answer}"),
        }
    }
    if all.iter().all(is_json) {
        let other = Site::new();
        let array = format!("[{}]", all.join(","));
        let (status, body) = other
            .post("/v1/messages/batch", "application/json", array)
            .await;
        assert_eq!(status, StatusCode::OK);
        let as_array = json_of(&body);
        let as_array = as_array.as_array().expect("an array for an array");
        assert_eq!(as_array.len(), answers.len());
        for (line, array) in answers.iter().zip(as_array) {
            assert_eq!(without_chance(line), without_chance(array));
        }
        other.stop().await;
    }
    assert_is_readable(&site, &all, &answers).await;
    site.stop().await;
}

/// Half a character and a number beyond all numbers are JSON by its grammar and nothing that can be read.
fn is_readable(line: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok()
}

/// Without the ids that we make, and without the column of a fault: a line counts the blanks it begins with, what stands in an
/// array has none.
fn without_chance(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("message_id");
        fields.remove("conversation_id");
        if let Some(Value::String(detail)) = fields.get_mut("detail") {
            let end = detail.rfind(" column ").unwrap_or(detail.len());
            detail.truncate(end);
        }
    }
    answer
}

/// What was saved is there, in its place, with the bytes that were sent.
async fn assert_is_readable(site: &Site, lines: &[&str], answers: &[Value]) {
    for (line, answer) in lines.iter().zip(answers) {
        let Some(guest) = answer["guest_id"].as_str() else {
            continue;
        };
        let sequence = answer["sequence"].as_u64().expect("a sequence");
        let page = match sequence.checked_sub(1) {
            Some(before) => format!("/v1/guest/chat/{guest}?limit={PAGE}&after={before}"),
            None => format!("/v1/guest/chat/{guest}?limit={PAGE}"),
        };
        let (status, history) = site.get(&page).await;
        assert_eq!(status, StatusCode::OK);
        let found = &history[0];
        assert_eq!(found["sequence"], answer["sequence"]);
        // The id that was sent, and else the row's own.
        let shown = answer.get("id").unwrap_or(&answer["message_id"]);
        assert_eq!(&found["id"], shown);
        if let Ok(sent) = serde_json::from_str::<Value>(line) {
            assert_eq!(
                (&found["content"], &found["role"]),
                (&sent["content"], &sent["role"])
            );
        }
    }
}

/// A guest's batch is stored whole and in order, or not at all.
async fn batch(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let site = Site::new();
    let all: Vec<_> = text.lines().collect();
    let body = format!("{{\"messages\":[{}]}}", all.join(","));
    let (status, answer) = site
        .post("/v1/guest/chat/g/batch", "application/json", body.clone())
        .await;
    let (_, history) = site.get("/v1/guest/chat/g").await;
    let history = history.as_array().expect("a history");
    if status == StatusCode::OK {
        let answers = json_of(&answer);
        let answers = answers.as_array().expect("an answer each");
        let fresh = answers
            .iter()
            .filter(|answer| answer["replayed"] != true)
            .count();
        assert_eq!(history.len(), fresh);
        let sequences: Vec<_> = history
            .iter()
            .map(|message| message["sequence"].as_u64())
            .collect();
        assert_eq!(sequences, (0..fresh as u64).map(Some).collect::<Vec<_>>());
        if let Ok(sent) = serde_json::from_str::<Value>(&body) {
            assert_eq!(
                sent["messages"].as_array().map(Vec::len),
                Some(answers.len())
            );
        }
    } else {
        let refused = [
            StatusCode::BAD_REQUEST,
            StatusCode::CONFLICT,
            StatusCode::UNPROCESSABLE_ENTITY,
        ];
        assert!(refused.contains(&status), "{status}");
        assert!(history.is_empty(), "a refused batch left {history:?}");
        let is_json = serde_json::from_str::<IgnoredAny>(&body).is_ok();
        match status == StatusCode::BAD_REQUEST {
            true => assert!(!is_json || !is_readable(&body)),
            false => assert!(is_json),
        }
    }
    site.stop().await;
}

/// Any path is answered, and a guest it names is the guest that a body names so.
async fn path(data: &[u8]) {
    let path = String::from_utf8_lossy(data);
    let Ok(request) = Request::get(format!("/v1/guest/chat/{path}")).body(Body::empty()) else {
        return;
    };
    let site = Site::new();
    let (status, body) = site.send(request).await;
    let answers = [
        StatusCode::OK,
        StatusCode::NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::UNPROCESSABLE_ENTITY,
    ];
    assert!(answers.contains(&status), "{status}");
    if status == StatusCode::OK {
        assert_eq!(json_of(&body), json!([]));
    }
    for prefix in [
        "/v1/user/",
        "/v1/conversation/",
        "/v1/guest/session/",
        "/v1/",
    ] {
        if let Ok(request) = Request::get(format!("{prefix}{path}")).body(Body::empty()) {
            site.send(request).await;
        }
    }
    site.stop().await;
}

/// Any query is answered with a page in order, no longer than asked for, or with a 422.
async fn query(data: &[u8]) {
    let query = String::from_utf8_lossy(data);
    let Ok(request) = Request::get(format!("/v1/guest/chat/g?{query}")).body(Body::empty()) else {
        return;
    };
    let site = Site::new();
    let said =
        |text: &str| json!({"role": "user", "content": text, "timestamp": "2025-12-21T12:00:00Z"});
    let messages = json!({"messages": (0..5).map(|n| said(&n.to_string())).collect::<Vec<_>>()});
    let (status, _) = site
        .post(
            "/v1/guest/chat/g/batch",
            "application/json",
            messages.to_string(),
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    let (status, body) = site.send(request).await;
    if status == StatusCode::OK {
        let page = json_of(&body);
        let page = page.as_array().expect("a page");
        let sequences: Vec<_> = page
            .iter()
            .filter_map(|message| message["sequence"].as_u64())
            .collect();
        assert!(
            sequences.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{sequences:?}"
        );
        assert_eq!(sequences.len(), page.len());
        let given = |name: &str| number(&query, name);
        assert!(given("limit").is_none_or(|limit| sequences.len() as u64 <= limit));
        assert!(given("before").is_none_or(|before| sequences.iter().all(|found| *found < before)));
        assert!(given("after").is_none_or(|after| sequences.iter().all(|found| *found > after)));
    } else {
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    site.stop().await;
}

/// A plain number in a query that has its name once and nothing escaped.
fn number(query: &str, name: &str) -> Option<u64> {
    let query = query.split('#').next().unwrap_or_default();
    if query.contains(['%', '+']) {
        return None;
    }
    let mut values = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let value = values.next()?.parse().ok()?;
    values.next().is_none().then_some(value)
}

/// A key sent twice is one message, or is refused twice.
async fn key(data: &[u8]) {
    let message = r#"{"role":"user","content":"hello","timestamp":"2025-12-21T12:00:00Z"}"#;
    let request = || {
        Request::post("/v1/guest/chat/g")
            .header("Idempotency-Key", data)
            .body(Body::from(message))
    };
    if request().is_err() {
        return; // nothing that a header can hold
    }
    let site = Site::new();
    let (first, body) = site.send(request().expect("a request")).await;
    let (second, again) = site.send(request().expect("a request")).await;
    assert_eq!(first, second);
    let (_, history) = site.get("/v1/guest/chat/g").await;
    if first == StatusCode::OK {
        let (body, again) = (json_of(&body), json_of(&again));
        assert_eq!(body["message_id"], again["message_id"]);
        assert_eq!(again["replayed"], true);
        assert_eq!(history.as_array().map(Vec::len), Some(1));
    } else {
        assert_eq!(first, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(history, json!([]));
    }
    site.stop().await;
}
