//! A server of embeddings on a free port that answers as a test wants, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// One request, as it came.
pub struct Seen {
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Value,
}

/// All requests so far.
pub type Log = Arc<Mutex<Vec<Seen>>>;

/// What the server answers to the inputs of a request.
type Behaviour = Arc<dyn Fn(&[String]) -> Response + Send + Sync>;

/// A server that lives as long as the test; gives its base URL and what it will have seen.
pub async fn serve(
    behaviour: impl Fn(&[String]) -> Response + Send + Sync + 'static,
) -> (String, Log) {
    let log = Log::default();
    let behaviour: Behaviour = Arc::new(behaviour);
    let router = Router::new()
        .route("/v1/embeddings", post(answer))
        .with_state((behaviour, Arc::clone(&log)));
    let (listener, base) = listen().await;
    tokio::spawn(async move { axum::serve(listener, router).await });
    (base, log)
}

/// A free port and its base URL. As long as nobody accepts, clients connect and then wait.
pub async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    (listener, base)
}

async fn answer(
    State((behaviour, log)): State<(Behaviour, Log)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let inputs: Vec<String> = serde_json::from_value(body["input"].clone()).unwrap();
    log.lock().unwrap().push(Seen { uri, headers, body });
    behaviour(&inputs)
}

/// A server whose answer has `embedding`, as it is, for every input.
pub async fn serve_each(embedding: &'static str) -> String {
    let answer = move |inputs: &[String]| {
        let item = |index| format!(r#"{{"index":{index},"embedding":{embedding}}}"#);
        let data: Vec<_> = (0..inputs.len()).map(item).collect();
        format!(r#"{{"data":[{}]}}"#, data.join(",")).into_response()
    };
    serve(answer).await.0
}

/// A well-formed answer with these vectors.
pub fn items(embeddings: impl IntoIterator<Item = Value>) -> Response {
    let item =
        |(index, embedding)| json!({"object": "embedding", "index": index, "embedding": embedding});
    let data: Vec<Value> = embeddings.into_iter().enumerate().map(item).collect();
    json!({"object": "list", "data": data, "model": "m"})
        .to_string()
        .into_response()
}

/// A vector from which the length of the text can be told: it is the angle.
pub fn vector_of(text: &str) -> Value {
    json!([1.0, text.len() as f64, 0.0])
}
