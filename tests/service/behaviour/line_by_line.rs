//! Many lines in one request, cut off in the middle: each line is told what became of it, and that is true.

use guestbook::http::{HttpServer, HttpSettings, Listener, ServerAddress};
use guestbook_testkit::client::{Answer, Client, said, with};
use guestbook_testkit::service_harness::words::until;
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinHandle;

/// More than the queue has room for.
const LINES: usize = 6_000;

/// A server whose database has begun to store some of these lines and does not go on; the request that waits for them.
async fn stuck(
    http: HttpSettings,
    as_lines: bool,
) -> (ServiceHarness, HttpServer, JoinHandle<Vec<Value>>) {
    let harness = Plan::memory().start().ready().await;
    harness.tables.hold(&["record"]);
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let server = HttpServer::start([listener], harness.service.clone(), http).unwrap();
    let client = Client::new(address(&server));
    let lines: Vec<_> = (0..LINES)
        .map(|number| with(said("user", &number.to_string()), "guest_id", json!("ada")))
        .collect();
    let asking = tokio::spawn(async move {
        let request = client.request("POST", "/v1/messages/batch");
        if !as_lines {
            return Answer::of(guestbook_testkit::client::json_body(
                request,
                json!(lines).to_string(),
            ))
            .await
            .list();
        }
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let request = request.header("Content-Type", "application/x-ndjson");
        Answer::of(request.body(text)).await.lines()
    });
    until("a part is being stored", || async {
        harness.tables.count("record") == 1
    })
    .await;
    (harness, server, asking)
}

/// The lines that were answered with this, by their number.
fn lines(answers: &[Value], is: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    assert_eq!(answers.len(), LINES);
    let found = answers.iter().enumerate().filter(|(_, answer)| is(answer));
    found.map(|(number, _)| number.to_string()).collect()
}

fn says(answer: &Value, words: &str) -> bool {
    let detail = answer["detail"].as_str().unwrap_or_default();
    answer["status"] == 503 && detail.contains(words)
}

async fn stored(harness: &ServiceHarness) -> BTreeSet<String> {
    harness.texts("ada").await.into_iter().collect()
}

fn address(server: &HttpServer) -> std::net::SocketAddr {
    match server.addresses() {
        [ServerAddress::Tcp(address)] => *address,
        others => panic!("{others:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_answers_what_is_stored_and_refuses_what_is_not_begun() {
    for as_lines in [true, false] {
        let (harness, server, asking) = stuck(HttpSettings::default(), as_lines).await;
        let stopping = tokio::spawn(server.stop());
        harness.service.draining().await;
        harness.tables.release();
        let answers = asking.await.unwrap();
        stopping.await.unwrap();
        let saved = lines(&answers, |answer| answer["status"] == "saved");
        let refused = lines(&answers, |answer| says(answer, "the server is stopping"));
        assert_eq!(saved, stored(&harness).await);
        assert!(!saved.is_empty() && !refused.is_empty());
        // One part may have given up waiting for room before the stop.
        let full = lines(&answers, |answer| says(answer, "too many requests"));
        assert_eq!(saved.len() + refused.len() + full.len(), LINES);
        harness.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_nothing_moves_takes_back_what_is_not_begun() {
    let http = HttpSettings {
        drain_timeout: Duration::from_secs(2),
        ..HttpSettings::default()
    };
    let (harness, server, asking) = stuck(http, true).await;
    server.stop().await;
    let answers = asking.await.unwrap();
    let unknown = lines(&answers, |answer| says(answer, "it is not known"));
    let refused = lines(&answers, |answer| says(answer, "nothing of it was stored"));
    let full = lines(&answers, |answer| says(answer, "too many requests"));
    assert_eq!(unknown.len() + refused.len() + full.len(), LINES);
    harness.tables.release();
    harness.say("ada", "afterwards").await;
    let mut kept = stored(&harness).await;
    assert!(kept.remove("afterwards"));
    assert_eq!(kept, unknown, "nothing that was refused is stored");
    assert!(
        !unknown.is_empty() && unknown.len() <= 1_024,
        "{}",
        unknown.len()
    );
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_answer_in_time_leaves_only_what_it_had_begun_unknown() {
    let http = HttpSettings {
        request_timeout: Duration::from_secs(2),
        ..HttpSettings::default()
    };
    let (harness, server, asking) = stuck(http, true).await;
    let answers = asking.await.unwrap();
    let unknown = lines(&answers, |answer| says(answer, "it is not known"));
    let refused = lines(&answers, |answer| {
        says(answer, "nothing of this was stored")
    });
    let full = lines(&answers, |answer| says(answer, "too many requests"));
    assert_eq!(unknown.len() + refused.len() + full.len(), LINES);
    assert!(
        !unknown.is_empty() && unknown.len() <= 1_024,
        "{}",
        unknown.len()
    );
    harness.tables.release();
    harness.say("ada", "afterwards").await;
    let mut kept = stored(&harness).await;
    assert!(kept.remove("afterwards"));
    assert_eq!(kept, unknown, "nothing that was refused is stored");
    server.stop().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_turn_does_not_come_in_time_is_told_that_nothing_was_stored() {
    let harness = Plan::memory().start().ready().await;
    harness.tables.hold(&["record"]);
    let first =
        harness
            .service
            .enqueue(vec![vec![guestbook_testkit::service_harness::words::says(
                "bob",
                "in the way",
            )]]);
    let first = first.await.unwrap();
    until("it is being stored", || async {
        harness.tables.count("record") == 1
    })
    .await;
    let http = HttpSettings {
        request_timeout: Duration::from_millis(300),
        ..HttpSettings::default()
    };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let server = HttpServer::start([listener], harness.service.clone(), http).unwrap();
    let client = Client::new(address(&server));
    let answer = client
        .message("ada", &said("user", "late"))
        .await
        .problem(503);
    assert!(says(&answer, "nothing of this was stored"), "{answer}");
    let batch = json!({"messages": [said("user", "late"), said("user", "too")]});
    let answer = client
        .post("/v1/guest/chat/ada/batch", &batch)
        .await
        .problem(503);
    assert!(says(&answer, "nothing of this was stored"), "{answer}");
    harness.tables.release();
    first.answer().await.unwrap();
    harness.say("ada", "on time").await;
    assert_eq!(harness.texts("ada").await, ["on time"]);
    server.stop().await;
    harness.assert_well().await;
    harness.stop().await;
}
