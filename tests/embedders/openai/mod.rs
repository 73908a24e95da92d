//! The OpenAI-compatible embedder against a real HTTP server that behaves well, and badly in every way known.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use guestbook::embed::openai::OpenAiOptions;
use guestbook::embed::{EmbedError, Embedder};
use guestbook::embedder as open;
use serde_json::{Value, json};

use guestbook_testkit::embedding_server::{items, listen, serve, serve_each, vector_of};

const KEY: &str = "sk-s3cret";
const DIMENSION: usize = 3;

/// Long enough for a busy machine; only the test of a stall waits for its own, shorter one.
const PATIENCE: Duration = Duration::from_secs(120);

fn client(base: &str, timeout: Duration) -> Arc<dyn Embedder> {
    let options = OpenAiOptions {
        model: "m".to_owned(),
        dimension: DIMENSION,
        api_key: Some(KEY.into()),
        timeout,
    };
    let spec = format!("openai:{base}").parse().unwrap();
    let embedder = open::open(&spec, options).unwrap().unwrap();
    assert!(!format!("{embedder:?}").contains("s3cret"));
    embedder
}

/// The error of each of `texts`, after checking that it tells where and keeps the key.
async fn errors(base: &str, texts: &[&str]) -> Vec<EmbedError> {
    errors_within(PATIENCE, base, texts).await
}

async fn errors_within(timeout: Duration, base: &str, texts: &[&str]) -> Vec<EmbedError> {
    let answers = client(base, timeout).embed(texts).await;
    assert_eq!(answers.len(), texts.len());
    let errors: Vec<_> = answers.into_iter().map(|a| a.unwrap_err()).collect();
    for error in &errors {
        let shown = format!("{error} {error:?}");
        let place = base.split('?').next().unwrap();
        assert!(
            shown.contains(&format!("POST {place}/embeddings: ")),
            "{shown}"
        );
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    errors
}

async fn transient(base: &str, why: &str) -> Option<Duration> {
    let [error] = errors(base, &["a"]).await.try_into().unwrap();
    match error {
        EmbedError::Transient { cause, retry_after } => {
            assert!(cause.contains(why), "{cause}");
            retry_after
        }
        EmbedError::Permanent { cause } => panic!("permanent: {cause}"),
    }
}

/// Asks for two texts; both must fail for good, for a reason that holds `why`.
async fn permanent(base: &str, why: &str) {
    for error in errors(base, &["a", "b"]).await {
        assert!(!error.is_transient(), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_good_server_gives_a_vector_for_each_text() {
    let (base, log) = serve(|inputs| items(inputs.iter().map(|text| vector_of(text)))).await;
    let embedder = client(&format!("{base}/?key=s3cret"), PATIENCE);
    let answers = embedder.embed(&["a", " \n", "aaaa"]).await;
    let first = answers[0].as_ref().unwrap().as_ref().unwrap();
    assert_eq!(first.components(), [90, 90, 0]);
    assert_eq!(answers[1], Ok(None)); // blank: not even asked
    let last = answers[2].as_ref().unwrap().as_ref().unwrap();
    assert_eq!(last.components(), [31, 123, 0]);
    assert!(embedder.embed(&[]).await.is_empty());

    let log = log.lock().unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].uri, "/v1/embeddings?key=s3cret");
    assert_eq!(log[0].headers["authorization"], "Bearer sk-s3cret");
    assert_eq!(log[0].headers["content-type"], "application/json");
    let expected = json!({"model": "m", "input": ["a", "aaaa"], "encoding_format": "float"});
    assert_eq!(log[0].body, expected);
}

#[tokio::test]
async fn answers_out_of_order_are_put_in_order() {
    let (base, _) = serve(|inputs| {
        let item =
            |(index, text): (usize, &String)| json!({"index": index, "embedding": vector_of(text)});
        let data: Vec<Value> = inputs.iter().enumerate().rev().map(item).collect();
        json!({ "data": data }).to_string().into_response()
    })
    .await;
    let answers = client(&base, PATIENCE).embed(&["a", "aaaa"]).await;
    let component = |at: usize| answers[at].as_ref().unwrap().as_ref().unwrap().components()[0];
    assert_eq!((component(0), component(1)), (90, 31));
}

#[tokio::test]
async fn many_texts_go_in_requests_of_64() {
    let (base, log) = serve(|inputs| items(inputs.iter().map(|text| vector_of(text)))).await;
    let texts: Vec<String> = (1..=130).map(|length| "a".repeat(length)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let embedder = client(&base, PATIENCE);
    let answers = embedder.embed(&texts).await;
    for (text, answer) in texts.iter().zip(answers) {
        assert_eq!(Ok(answer.unwrap()), embedder.embed(&[text]).await.remove(0));
    }
    let log = log.lock().unwrap();
    let inputs = |at: usize| log[at].body["input"].as_array().unwrap().len();
    assert_eq!([inputs(0), inputs(1), inputs(2)], [64, 64, 2]);
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_once() {
    let (base, log) = serve(|_| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    let errors = errors(&base, &["a"; 200]).await;
    assert!(errors.iter().all(EmbedError::is_transient));
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_stalls_is_transient() {
    let (_listener, base) = listen().await;
    let timeout = Duration::from_millis(200);
    let [error] = errors_within(timeout, &base, &["a"])
        .await
        .try_into()
        .unwrap();
    assert!(error.is_transient());
    assert!(
        error.to_string().contains("no answer within 200ms"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_transient() {
    let (listener, base) = listen().await;
    drop(listener);
    let base = format!("{base}?key=s3cret");
    assert_eq!(transient(&base, "cannot connect: ").await, None);
}

#[tokio::test]
async fn a_connection_that_breaks_is_transient() {
    let (listener, base) = listen().await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    assert_eq!(transient(&base, "the connection failed: ").await, None);
}

#[tokio::test]
async fn overload_and_server_errors_are_transient() {
    let wait = |seconds: &'static str| [("retry-after", seconds)];
    for (seconds, expected) in [("7", Some(7)), ("999999", Some(3600)), ("soon", None)] {
        let (base, _) = serve(move |_| {
            let body = r#"{"error":{"message":"slow down, sk-s3cret"}}"#;
            (StatusCode::TOO_MANY_REQUESTS, wait(seconds), body).into_response()
        })
        .await;
        let why = "answered 429 Too Many Requests: slow down, [key]";
        assert_eq!(
            transient(&base, why).await,
            expected.map(Duration::from_secs)
        );
    }
    for status in [500, 502, 503, 408] {
        let status = StatusCode::from_u16(status).unwrap();
        let (base, _) = serve(move |_| (status, "oops").into_response()).await;
        transient(&base, &format!("answered {status}")).await;
    }
}

#[tokio::test]
async fn refusals_are_permanent() {
    let echo = r#"{"error":{"message":"Incorrect API key provided: sk-s***et"}}"#;
    for status in [400, 401, 403, 404, 422] {
        let status = StatusCode::from_u16(status).unwrap();
        let (base, _) = serve(move |_| (status, echo).into_response()).await;
        permanent(&base, &format!("answered {status}")).await;
        let hidden = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let [error] = errors(&base, &["a"]).await.try_into().unwrap();
        assert_eq!(error.to_string().contains("sk-s***et"), !hidden, "{error}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (other, log) = serve(|inputs| items(inputs.iter().map(|text| vector_of(text)))).await;
    let (base, _) = serve(move |_| {
        let location = [("location", format!("{other}/embeddings"))];
        (StatusCode::TEMPORARY_REDIRECT, location).into_response()
    })
    .await;
    permanent(
        &base,
        "answered 307 Temporary Redirect, and redirects are not followed",
    )
    .await;
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn vectors_that_are_none_are_permanent() {
    for (embedding, why) in [
        ("[]", "the vector is empty"),
        ("[1,2]", "the vector has 2 dimensions, expected 3"),
        ("[1,2,3,4]", "the vector has 4 dimensions, expected 3"),
        ("[1,NaN,0]", "not the expected JSON"),
        ("[1,1e999,0]", "out of range"),
        (
            "[1,1e39,0]",
            "component 1 of the vector is not a finite number",
        ),
        ("[1,null,0]", "not an array of numbers"),
        ("[0,0,0]", "the vector is zero"),
        ("\"sk-s3cret\"", "not an array of numbers"),
    ] {
        permanent(&serve_each(embedding).await, why).await;
    }
}

#[tokio::test]
async fn one_bad_vector_does_not_fail_its_neighbours() {
    let (base, _) = serve(|_| items([json!([1, 0, 0]), json!([0, 0, 0])])).await;
    let answers = client(&base, PATIENCE).embed(&["a", "b"]).await;
    assert!(matches!(&answers[0], Ok(Some(_))));
    assert!(matches!(&answers[1], Err(EmbedError::Permanent { .. })));
}

#[tokio::test]
async fn answers_that_cannot_be_read_are_permanent() {
    let (base, _) = serve(|_| items([json!([1, 0, 0])])).await;
    permanent(&base, "the answer has 1 items for 2 inputs").await;
    let (base, _) = serve(|_| items(vec![json!([1, 0, 0]); 3])).await;
    permanent(&base, "the answer has 3 items for 2 inputs").await;
    for body in [
        "<html>sk-s3cret</html>",
        "",
        "{}",
        r#"{"data":"sk-s3cret"}"#,
        "[]",
    ] {
        let (base, _) = serve(move |_| body.into_response()).await;
        permanent(&base, "the answer is not the expected JSON").await;
    }
}

#[tokio::test]
async fn a_huge_body_is_not_read_to_its_end() {
    let (base, _) = serve(|_| " ".repeat(10_000_000).into_response()).await;
    permanent(&base, "the answer has more than 65920 bytes").await;
    // Of no stated length, and without end.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
        // An answer before the question would be another fault.
        let mut request = [0; 65_536];
        let mut length = 0;
        while !request[..length].ends_with(b"}") {
            length += client.read(&mut request[length..]).unwrap();
        }
        let mut sent = client.write_all(head);
        while sent.is_ok() {
            sent = client.write_all(chunk.as_bytes()); // fails once the client has hung up
        }
    });
    permanent(&base, "the answer has more than 65920 bytes").await;
}
