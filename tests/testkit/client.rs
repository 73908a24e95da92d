//! A client of one server on loopback, which keeps every answer whole.

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// The client's time of the messages of the laws.
pub const SENT_AT: &str = "2025-12-21T12:00:00Z";
const PATIENCE: Duration = Duration::from_secs(60);

/// Talks to one server, never through a proxy.
#[derive(Clone, Debug)]
pub struct Client {
    pub address: SocketAddr,
    http: reqwest::Client,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        // A second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A connection kept alive may be closed by a server with a short header time-out just as it is used again.
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .pool_max_idle_per_host(0);
        Self {
            address,
            http: http.build().unwrap(),
        }
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.http
            .request(method, format!("http://{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request("GET", path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request("DELETE", path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, body.to_string()).await
    }

    pub async fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        Answer::of(json_body(self.request("POST", path), body)).await
    }

    /// The same with an `Idempotency-Key`.
    pub async fn post_keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.request("POST", path).header("Idempotency-Key", key);
        Answer::of(json_body(request, body.to_string())).await
    }

    /// Posts to a guest's chat.
    pub async fn message(&self, guest: &str, body: &Value) -> Answer {
        self.post(&chat(guest), body).await
    }

    /// Posts a user's message that must be stored; the answer.
    pub async fn say(&self, guest: &str, content: &str) -> Value {
        self.message(guest, &said("user", content)).await.ok()
    }

    pub async fn history(&self, guest: &str) -> Vec<Value> {
        self.get(&chat(guest)).await.list()
    }

    /// The report of a verification, of one guest or of everything.
    pub async fn verify(&self, guest: Option<&str>) -> Value {
        match guest {
            Some(guest) => self.get(&format!("/v1/guest/verify/{guest}")).await.ok(),
            None => self.get("/v1/verify").await.ok(),
        }
    }

    /// How many messages there are, counted row by row.
    pub async fn stored(&self) -> u64 {
        let report = self.verify(None).await;
        found(&report, "message_cache")
    }

    /// What a user may see of a signed-up guest: the conversations.
    pub async fn conversations(&self, user: &str) -> Vec<Value> {
        let path = format!("/v1/user/{user}/conversations");
        self.get(&path).await.list()
    }
}

/// A request with a JSON body.
pub fn json_body(request: RequestBuilder, body: impl Into<reqwest::Body>) -> RequestBuilder {
    request.header(CONTENT_TYPE, "application/json").body(body)
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> Self {
        Self::try_of(request).await.unwrap()
    }

    pub async fn try_of(request: RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        Ok(Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await?.to_vec(),
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|cause| panic!("{cause}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The document of a 200.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.json()
    }

    /// The array of a 200.
    pub fn list(&self) -> Vec<Value> {
        self.ok().as_array().expect("an array").clone()
    }

    /// The lines of a 200.
    pub fn lines(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/x-ndjson"));
        let text = self.text();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The problem document of an error with this status.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem = self.json();
        assert_problem(&problem, status);
        problem
    }

    /// A 422 that names this field.
    pub fn refuses(&self, field: &str) {
        let problem = self.problem(422);
        assert_eq!(problem["field"], field, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(field), "{detail} does not name {field}");
    }
}

/// Checks the fields that every problem has.
pub fn assert_problem(problem: &Value, status: u16) {
    assert_eq!(problem["status"], status, "{problem}");
    for field in ["type", "title", "detail"] {
        let text = problem[field].as_str().unwrap_or("");
        assert!(!text.is_empty(), "no {field}: {problem}");
    }
}

/// The path of a guest's chat.
pub fn chat(guest: &str) -> String {
    format!("/v1/guest/chat/{guest}")
}

/// A message as clients send it.
pub fn said(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content, "timestamp": SENT_AT})
}

/// The same with one field set.
pub fn with(mut message: Value, field: &str, value: Value) -> Value {
    message[field] = value;
    message
}

/// The same without one field.
pub fn without(mut message: Value, field: &str) -> Value {
    message.as_object_mut().unwrap().remove(field);
    message
}

/// The contents of messages, in their order.
pub fn contents(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["content"].as_str().expect("a content"))
        .collect()
}

/// The sequences of messages or answers, in their order.
pub fn sequences(messages: &[Value]) -> Vec<u64> {
    messages
        .iter()
        .map(|message| message["sequence"].as_u64().expect("a sequence"))
        .collect()
}

/// One table of a report.
pub fn table<'a>(report: &'a Value, name: &str) -> &'a Value {
    let tables = report["tables"].as_array().expect("tables");
    let table = tables.iter().find(|table| table["table"] == name);
    table.unwrap_or_else(|| panic!("no table {name}: {report}"))
}

/// The rows found in one table of a report.
pub fn found(report: &Value, name: &str) -> u64 {
    table(report, name)["found"].as_u64().unwrap()
}

/// The reasons a report gives for one table.
pub fn reasons(report: &Value, name: &str) -> Vec<String> {
    let differences = table(report, name)["differences"].as_array().unwrap();
    differences
        .iter()
        .map(|difference| difference["reason"].as_str().unwrap().to_owned())
        .collect()
}
