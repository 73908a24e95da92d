//! `guestbook verify`: every damage is found and named, and what is derived is mended.

use guestbook_testkit::process::{Place, Running, stderr, stdout};
use serde_json::Value;

const TABLES: [&str; 7] = [
    "guest:{id} lists",
    "conversation_cache",
    "message_cache",
    "cache_embeddings",
    "usage_metrics",
    "cache_content_mapping",
    "cache_metrics",
];

/// A stopped server's data: two guests, four messages.
pub(crate) async fn filled() -> Place {
    let place = Place::new();
    let server = place.serve();
    for content in ["one", "two", "three"] {
        server.client.say("g1", content).await;
    }
    server.client.say("g2", "four").await;
    server.stop();
    place
}

/// Runs verify; its exit code and its words.
pub(crate) fn verify(place: &Place, arguments: &[&str]) -> (i32, String) {
    let output = place.run(&[&["verify"], arguments].concat());
    let code = output.status.code().unwrap();
    assert!(code != 2, "could not look: {}", stderr(&output));
    (code, stdout(&output))
}

/// One line per table, each of them well.
fn assert_well(said: &str) {
    for name in TABLES {
        let line = said.lines().find(|line| line.starts_with(name));
        assert!(
            line.is_some_and(|line| line.ends_with("ok")),
            "{name}: {said}"
        );
    }
}

/// Ids that are refused now, as an earlier version has stored them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chats_under_ids_that_are_refused_now_stay_reachable_by_the_command_line() {
    let place = filled().await;
    let mut renaming = String::from("BEGIN;");
    for (old, new) in [("g1", ".."), ("g2", ".")] {
        for (table, column) in [
            ("conversation_cache", "user_id"),
            ("conversation_cache", "session_id"),
            ("usage_metrics", "user_id"),
            ("cache_content_mapping", "user_id"),
        ] {
            renaming += &format!("UPDATE {table} SET {column} = '{new}' WHERE {column} = '{old}';");
        }
    }
    place.damage(&(renaming + "COMMIT;"));
    verify(&place, &["--repair"]); // their lists are under the other ids
    let (code, said) = verify(&place, &[]);
    assert_eq!(code, 0, "{said}");
    assert_well(&said);
    for (guest, text) in [("..", "three"), (".", "four")] {
        let (code, said) = verify(&place, &["--guest", guest]);
        assert_eq!(code, 0, "{said}");
        let found = place.run(&["search", "--guest", guest, text, "--mode", "text"]);
        assert!(stdout(&found).contains(text), "{}", stderr(&found));
    }
    // A server starts on them, and is asked in vain for what no path can name.
    let server = place.serve();
    let (code, said) = verify(&place, &[]);
    assert_eq!(code, 0, "{said}");
    for command in [
        &["verify", "--guest", ".."][..],
        &["search", "--guest", "..", "x"],
    ] {
        let output = place.run(command);
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
        assert!(stderr(&output).contains("stop it"), "{}", stderr(&output));
    }
    let user = serde_json::json!({"authenticated_user_id": "u1"});
    let path = "/v1/guest/migrate/g1";
    server.client.post(path, &user).await.ok();
    server.stop();
    let (code, said) = verify(&place, &[]);
    assert_eq!(code, 0, "{said}");
}

/// Verify must find the damage and say these words, mend it and say so, and then find nothing.
fn mends(place: &Place, words: &[&str]) {
    let (code, said) = verify(place, &[]);
    assert_eq!(code, 1, "{said}");
    for word in words {
        assert!(said.contains(word), "no {word}: {said}");
    }
    let (code, said) = verify(place, &["--repair"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("repaired: "), "{said}");
    let (code, said) = verify(place, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("repaired"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_works_while_the_server_runs_and_after_it_has_stopped() {
    let place = Place::new();
    let server = place.serve();
    server.client.say("g1", "Hello").await;
    let (code, said) = verify(&place, &[]);
    assert_eq!(code, 0, "{said}");
    assert_well(&said);
    server.stop();
    let (code, said) = verify(&place, &[]);
    assert_eq!(code, 0, "{said}");
    assert_well(&said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_asks_a_running_server_with_its_key() {
    let place = Place::new();
    let mut command = place.command(&["--listen", "127.0.0.1:0"]);
    command.env("GUESTBOOK_API_KEY", "s3cret");
    let server = Running::start(command);
    let output = place.run(&["verify"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("wants its API key; set GUESTBOOK_API_KEY"));
    let output = place.run(&["verify", "--api-key", "secret"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("refuses this API key"));
    let (code, _) = verify(&place, &["--api-key", "s3cret"]);
    assert_eq!(code, 0);
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_of_one_guest_counts_that_guest() {
    let place = filled().await;
    let (code, said) = verify(&place, &["--guest", "g1", "--json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &report["guest"]), (0, &"g1".into()));
    assert_eq!(
        guestbook_testkit::client::found(&report, "message_cache"),
        3
    );
    let output = place.run(&["verify", "--guest", "a b"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--guest"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_as_json_is_the_report_of_the_http_route() {
    let place = Place::new();
    let server = place.serve();
    server.client.say("g1", "Hello").await;
    let (_, said) = verify(&place, &["--json"]);
    let mut by_command: Value = serde_json::from_str(&said).unwrap();
    let mut by_http = server.client.verify(None).await;
    by_command["checked_at"].take();
    by_http["checked_at"].take();
    assert_eq!(by_command, by_http);
    server.stop();
}

#[test]
fn verify_of_a_folder_without_data_could_not_look_and_makes_nothing() {
    let place = Place::new();
    for command in ["verify", "reembed"] {
        let output = place.run(&[command]);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{command}: {}",
            stdout(&output)
        );
        assert!(!place.data().exists(), "{command} made the folder");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_message_is_found_and_never_invented() {
    let place = filled().await;
    place.damage(
        "DELETE FROM message_cache WHERE sequence = 1
           AND conversation_id = (SELECT id FROM conversation_cache WHERE user_id = 'g1')",
    );
    let (code, said) = verify(&place, &[]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("messages are missing") && said.contains("g1"),
        "{said}"
    );
    let (code, said) = verify(&place, &["--repair"]);
    assert_eq!(code, 1, "a lost message cannot be repaired: {said}");
    let (code, _) = verify(&place, &["--guest", "g2"]);
    assert_eq!(code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_message_is_found() {
    let place = filled().await;
    place.damage("UPDATE message_cache SET content = 'forged' WHERE content = 'two'");
    let (code, said) = verify(&place, &[]);
    assert_eq!(code, 1);
    assert!(
        said.contains("its content is not what message_hash says"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reordered_messages_are_found() {
    let place = filled().await;
    place.damage(
        "UPDATE message_cache SET sequence = 9 WHERE content = 'one';
         UPDATE message_cache SET sequence = 0 WHERE content = 'two';
         UPDATE message_cache SET sequence = 1 WHERE content = 'one';",
    );
    let (code, said) = verify(&place, &[]);
    assert_eq!(code, 1);
    assert!(said.contains("hash chain"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_mappings_are_found_and_mended() {
    let place = filled().await;
    place.damage("DELETE FROM cache_content_mapping WHERE user_id = 'g1'");
    mends(&place, &["there is no mapping", "g1 #0", "g1 #2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_and_lost_usage_is_found_and_mended() {
    let place = filled().await;
    place.damage("UPDATE usage_metrics SET total_input_tokens = 99 WHERE user_id = 'g1'");
    mends(&place, &["g1", "should be"]);
    place.damage("DELETE FROM usage_metrics WHERE user_id = 'g2'");
    mends(&place, &["there is no row for 1 messages"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_vectors_are_found_and_mended() {
    let place = filled().await;
    place.damage("DELETE FROM cache_embeddings");
    mends(&place, &["there is no vector"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_counters_are_found_and_mended() {
    let place = filled().await;
    place.damage("UPDATE conversation_cache SET total_tokens = 77 WHERE user_id = 'g1'");
    mends(&place, &["total_tokens 77"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_metrics_are_found_and_mended() {
    let place = filled().await;
    place.damage("DELETE FROM cache_metrics");
    mends(&place, &["cache_metrics"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_belong_to_nothing_are_found_and_removed() {
    let place = filled().await;
    place.damage(
        "INSERT INTO cache_content_mapping (id, cache_type, cache_id, user_id, cache_backend, content_backend,
             is_synced, created_at)
         SELECT 'stray', cache_type, 'stray', user_id, cache_backend, content_backend, 0, created_at
         FROM cache_content_mapping LIMIT 1",
    );
    mends(&place, &["stray", "no message"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_lists_are_found_and_mended() {
    let place = filled().await;
    std::fs::remove_dir_all(place.data().join("lists")).unwrap();
    mends(&place, &["there is no list", "g1", "g2"]);
}

/// Only a server says how long lists live: by another life of theirs, lists that are right would be wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_live_as_long_as_the_server_said_for_a_verify_that_was_not_told() {
    let place = Place::new();
    let serve = || Running::start(place.command(&["--listen", "127.0.0.1:0", "--list-ttl", "2h"]));
    let server = serve();
    server.client.say("g1", "Hello").await;
    server.stop();
    for arguments in [&[][..], &["--repair"], &["--list-ttl", "3h"]] {
        let (code, said) = verify(&place, arguments);
        assert_eq!(code, 0, "{said}");
        assert_well(&said);
        assert!(!said.contains("repaired"), "{said}");
    }
    let server = serve();
    assert!(server.client.verify(None).await["ok"].as_bool().unwrap());
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vectors_of_another_model_are_not_taken_for_wrong_by_a_verify_that_was_not_told() {
    let place = Place::new();
    let serve = ["--listen", "127.0.0.1:0", "--embedder", "none"];
    let server = Running::start(place.command(&serve));
    server.client.say("g1", "Hello").await;
    server.stop();
    for arguments in [&["verify"][..], &["verify", "--repair"]] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
        let said = stderr(&output);
        assert!(
            said.contains("model is none; give the --embedder"),
            "{said}"
        );
    }
    let (code, said) = verify(&place, &["--embedder", "none"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = verify(&place, &["--embedder", "static", "--repair"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("computed 1 missing vectors"), "{said}");
}
