//! What a bench cannot do is said at once, with the name of the flag.

use crate::benchmarks::bench;
use guestbook_testkit::process::{Place, finish, stderr};

#[track_caller]
fn refused(arguments: &[&str], words: &[&str]) {
    let place = Place::new();
    std::fs::write(place.path().join("other.json"), r#"{"schema": 99}"#).unwrap();
    std::fs::write(place.path().join("no.json"), "no report").unwrap();
    let output = finish(bench(&place, arguments));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in words {
        assert!(said.contains(word), "{said} has no {word}");
    }
}

#[test]
fn pairs_that_are_none_are_refused() {
    refused(&["--pairs", "sqlite"], &["--pairs", "sqlite+sled"]);
    refused(&["--pairs", "sqlite+mongo"], &["--pairs", "mongo"]);
    refused(&["--pairs", "memory,memory+memory"], &["--pairs", "twice"]);
}

#[test]
fn servers_need_a_url_that_is_theirs() {
    let feature = |name| {
        if cfg!(all(feature = "postgres", feature = "redis")) {
            "--pairs"
        } else {
            name
        }
    };
    refused(
        &["--pairs", "postgres+sled"],
        &["--database-url", feature("feature")],
    );
    refused(
        &["--pairs", "sqlite+redis"],
        &["--cache-url", feature("feature")],
    );
    let file = ["--pairs", "postgres+sled", "--database-url", "sqlite:x.db"];
    refused(&file, &["--database-url", "PostgreSQL"]);
}

#[test]
fn numbers_and_mixes_that_mean_nothing_are_refused() {
    refused(&["--connections", "0"], &["--connections"]);
    refused(&["--connections", "5000"], &["--connections", "4096"]);
    refused(&["--mix", "0:100"], &["--mix", "80:20"]);
    refused(&["--mix", "most"], &["--mix", "80:20"]);
    refused(&["--load-percent", "100"], &["--load-percent"]);
    refused(&["--max-duration", "long"], &["--max-duration", "30s"]);
    refused(&["--target", "carrier"], &["--target", "storage"]);
    // By the names they had.
    refused(&["--load", "100"], &["--load-percent"]);
    refused(&["--at-most", "long"], &["--max-duration"]);
    refused(&["--through", "carrier"], &["--target"]);
    let memory = ["--pairs", "memory", "--durability", "full"];
    refused(&memory, &["--durability", "--pairs"]);
}

#[test]
fn a_report_that_cannot_be_compared_is_refused_before_anything_is_measured() {
    refused(&["--compare", "none.json"], &["--compare", "none.json"]);
    refused(&["--compare", "no.json"], &["--compare", "report.json"]);
    refused(&["--compare", "other.json"], &["--compare", "form 99"]);
    refused(&["--out", "no.json"], &["--out", "no.json"]);
}
