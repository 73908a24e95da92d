//! `guestbook search`: with a server and without one.

use guestbook_testkit::process::{Place, stderr, stdout};
use serde_json::{Value, json};

async fn filled(place: &Place) {
    let server = place.serve();
    for content in [
        "The museum opens at ten",
        "I want a hotel room",
        "line one\nline\u{1b}[31m two",
    ] {
        server.client.say("g1", content).await;
    }
    let body = json!({"authenticated_user_id": "u 1"});
    server.client.say("g2", "a room with a view").await;
    let migrated = server.client.post("/v1/guest/migrate/g2", &body).await;
    migrated.ok();
    server.stop();
}

/// Runs a search; its exit code and its words.
fn search(place: &Place, arguments: &[&str]) -> (i32, String) {
    let output = place.run(&[&["search"], arguments].concat());
    let code = output.status.code().unwrap();
    assert!(code != 2, "could not look: {}", stderr(&output));
    (code, stdout(&output))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_finds_the_same_with_a_server_and_without_one() {
    let place = Place::new();
    filled(&place).await;
    let by_meaning = ["--guest", "g1", "when does the museum open", "--k", "1"];
    let by_words = ["--user", "u 1", "ROOM", "--mode", "text"];
    let alone = [search(&place, &by_meaning), search(&place, &by_words)];
    let server = place.serve();
    let asked = [search(&place, &by_meaning), search(&place, &by_words)];
    server.stop();
    assert_eq!(alone, asked);
    let [(_, by_meaning), (_, by_words)] = alone;
    assert!(
        by_meaning.contains("The museum opens at ten"),
        "{by_meaning}"
    );
    assert!(
        by_meaning.contains("1 found among 3 messages, by static-256"),
        "{by_meaning}"
    );
    assert!(by_words.contains("a room with a view"), "{by_words}");
    assert!(
        by_words.ends_with("1 found among 1 messages\n"),
        "{by_words}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_is_that_of_the_route_and_nothing_found_is_exit_code_1() {
    let place = Place::new();
    filled(&place).await;
    let server = place.serve();
    let (code, said) = search(&place, &["--guest", "g1", "hotel", "--json"]);
    let by_command: Value = serde_json::from_str(&said).unwrap();
    let by_http = server
        .client
        .get("/v1/guest/chat/g1/search?q=hotel")
        .await
        .ok();
    assert_eq!((code, by_command), (0, by_http));
    let (code, said) = search(&place, &["--guest", "g1", "castle", "--mode", "text"]);
    assert_eq!((code, said.as_str()), (1, "0 found among 3 messages\n"));
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_searched_by_the_running_server() {
    let place = Place::new();
    filled(&place).await;
    let server = place.serve();
    let (code, said) = search(&place, &["a room", "--k", "2"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("I want a hotel room"), "{said}");
    assert!(said.contains("a room with a view"), "{said}");
    assert!(
        said.contains("2 found among 4 messages, by static-256"),
        "{said}"
    );
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_shown_on_one_line_and_commands_nothing() {
    let place = Place::new();
    filled(&place).await;
    let (_, said) = search(&place, &["--guest", "g1", "two", "--mode", "text"]);
    assert!(said.contains("line one line [31m two\n"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_searched_is_refused_with_a_reason() {
    let place = Place::new();
    filled(&place).await;
    let refused = |arguments: &[&str], word: &str| {
        let output = place.run(&[&["search"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    };
    refused(&["hotel"], "guestbook serve");
    refused(&["hotel", "--guest", "g1", "--user", "u1"], "--user");
    refused(&["hotel", "--guest", "a b"], "--guest");
    refused(&["hotel", "--guest", "g1", "--k", "0"], "--k");
    refused(
        &["hotel", "--guest", "g1", "--mode", "sense"],
        "meaning, text",
    );
    refused(&[" ", "--guest", "g1"], "TEXT");
    refused(&["🎉", "--guest", "g1"], "mode=text");
    refused(
        &["hotel", "--guest", "g1", "--embedder", "none"],
        "--embedder",
    );
}
