//! `guestbook cache`: with a server on the folder and without one.

use guestbook_testkit::client::{Answer, json_body};
use guestbook_testkit::process::{Place, Running, stderr, stdout};
use serde_json::{Value, json};

async fn keep(server: &Running, scope: &str, prompt: &str) {
    let body = json!({"scope": scope, "model": "m", "prompt": prompt, "response": "yes"});
    let request = server.client.request("PUT", "/v1/cache");
    Answer::of(json_body(request, body.to_string())).await.ok();
}

fn cache(place: &Place, arguments: &[&str]) -> String {
    let output = place.run(&[&["cache"], arguments].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

fn entries(place: &Place) -> Value {
    let stats: Value = serde_json::from_str(&cache(place, &["stats", "--json"])).unwrap();
    stats["entries"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_counted_and_removed_while_the_server_runs_and_after_it_has_stopped() {
    let place = Place::new();
    let server = place.serve();
    for scope in ["tenant:a", "tenant:b", "guest:g1"] {
        keep(&server, scope, "ask").await;
    }
    assert_eq!(entries(&place), 3);
    let said = cache(&place, &["clear", "--scope", "tenant:a"]);
    assert_eq!(said, "1 answers of tenant:a removed\n");
    server.stop();
    assert_eq!(entries(&place), 2);
    let said = cache(&place, &["stats"]);
    assert!(said.starts_with("answers    2 in 2 scopes"), "{said}");
    assert_eq!(
        cache(&place, &["clear"]),
        "2 answers of all scopes removed\n"
    );
    assert_eq!(entries(&place), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_scope_is_refused_and_removes_nothing() {
    let place = Place::new();
    let server = place.serve();
    keep(&server, "tenant:a", "ask").await;
    let output = place.run(&["cache", "clear", "--scope", "a"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("tenant:NAME"),
        "{}",
        stderr(&output)
    );
    assert_eq!(entries(&place), 1);
    server.stop();
}

#[test]
fn without_a_database_there_is_nothing_to_clear() {
    let place = Place::new();
    let output = place.run(&["cache", "clear"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("there is no database"),
        "{}",
        stderr(&output)
    );
}
