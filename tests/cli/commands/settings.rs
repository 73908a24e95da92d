//! `guestbook settings`, and settings that are changed by a flag at a start.

use guestbook_testkit::process::{Place, Running, stderr, stdout};
use serde_json::Value;

fn serve(place: &Place, settings: &[&str]) -> Running {
    let mut command = place.command(&["--listen", "127.0.0.1:0"]);
    command.args(settings);
    Running::start(command)
}

fn value(place: &Place, name: &str) -> String {
    let output = place.run(&["settings", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let settings = report["settings"].as_array().unwrap();
    let one = settings.iter().find(|one| one["name"] == name).unwrap();
    assert!(
        one["since"].is_string() && one["by"] == env!("CARGO_PKG_VERSION"),
        "{one}"
    );
    one["value"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_listed_while_a_server_runs_and_after_it() {
    let place = Place::new();
    let flags = [
        "--list-ttl",
        "12h",
        "--retention",
        "30d",
        "--text-index",
        "on",
    ];
    let server = serve(&place, &flags);
    assert!(
        server.banner.contains("expire after 12h"),
        "{}",
        server.banner
    );
    assert!(
        server.banner.contains("kept for 30days"),
        "{}",
        server.banner
    );
    for _ in 0..2 {
        assert_eq!(value(&place, "list-ttl"), "12h");
        assert_eq!(value(&place, "retention"), "30days");
        assert_eq!(value(&place, "text-index"), "on");
        assert!(value(&place, "embedder").starts_with("static"));
    }
    server.stop();
    let output = place.run(&["settings"]);
    let said = stdout(&output);
    for word in ["list-ttl", "12h", "30days", env!("CARGO_PKG_VERSION")] {
        assert!(said.contains(word), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flag_is_the_setting_where_one_server_has_its_stores_alone() {
    let place = Place::new();
    serve(&place, &["--list-ttl", "12h", "--retention", "30d"]).stop();
    let output = place.run(&["settings", "set", "list-ttl", "6h"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("start it with --list-ttl 6h"), "{said}");
    // Without a flag its default holds, as --help says.
    let server = serve(&place, &[]);
    assert!(
        server.banner.contains("expire after 1day"),
        "{}",
        server.banner
    );
    assert!(server.banner.contains("kept for ever"), "{}", server.banner);
    server.stop();
    assert_eq!(value(&place, "retention"), "off");
    serve(&place, &["--retention", "off"]).stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_life_of_the_lists_leaves_nothing_wrong() {
    let place = Place::new();
    let mut server = serve(&place, &["--list-ttl", "2h"]);
    for guest in ["g1", "g2", "g3"] {
        server.client.say(guest, "Hello").await;
    }
    for (flags, hours) in [(["--list-ttl", "30h"], 30), (["--list-ttl", "1h"], 1)] {
        server.stop();
        server = serve(&place, &flags);
        let report = server.client.verify(None).await;
        assert_eq!(report["ok"], true, "{report:#}");
        let session = server.client.get("/v1/guest/session/g1").await.ok();
        let seconds = session["ttl_seconds"].as_u64().or(session["ttl"].as_u64());
        let seconds = seconds.unwrap_or_else(|| panic!("{session}"));
        assert!(
            seconds <= hours * 3600 && seconds > hours * 3600 - 600,
            "{session}"
        );
        server.client.say("g1", "and").await;
    }
    server.stop();
    let output = place.run(&["verify", "--repair"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(!stdout(&output).contains("repaired"), "{}", stdout(&output));
}

/// Earlier versions stored a changed life and left the lists as they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_an_earlier_version_that_have_another_life_than_is_stored_get_it() {
    let place = Place::new();
    let server = serve(&place, &["--list-ttl", "2h"]);
    server.client.say("g1", "Hello").await;
    server.stop();
    place.damage(
        "UPDATE guestbook_meta SET value = '108000000' WHERE key = 'list_ttl_ms';
         DELETE FROM guestbook_meta WHERE key = 'settings_version' OR key LIKE 'since:%'",
    );
    let server = serve(&place, &["--list-ttl", "30h"]);
    let report = server.client.verify(None).await;
    assert_eq!(report["ok"], true, "{report:#}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_of_a_newer_version_is_told_by_its_number_and_who_wrote_it() {
    let place = Place::new();
    place.serve().stop();
    place.damage(
        "INSERT INTO refinery_schema_history VALUES (99, 'branches', '2027-01-01T00:00:00Z', '1');
         INSERT OR REPLACE INTO guestbook_meta VALUES ('schema_written_by', '9.9.9')",
    );
    let output = place.run(&["--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    let this = format!("this version, guestbook {}", env!("CARGO_PKG_VERSION"));
    for word in [
        "99 (branches)",
        "a newer version, guestbook 9.9.9, wrote them",
        &this,
    ] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_setting_that_cannot_be_is_refused() {
    let place = Place::new();
    let output = place.run(&["settings"]);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    for arguments in [["colour", "blue"], ["list-ttl", ""]] {
        let output = place.run(&["settings", "set", arguments[0], arguments[1]]);
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    }
}
