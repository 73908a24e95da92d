//! What the fuzzer has found so far, kept in fuzz/corpus: whatever once broke a law of whole requests or of URLs must never
//! break it again. The laws of what is inside of a module are replayed by the tests beside them.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

#[path = "../../fuzz/laws/requests.rs"]
mod requests;
#[path = "../../fuzz/laws/urls.rs"]
mod urls;

use std::fs;
use std::path::Path;

/// Every input that is kept for a target, with its name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| (path.display().to_string(), fs::read(&path).unwrap());
    let all: Vec<_> = paths.map(read).collect();
    assert!(!all.is_empty(), "{target} has no corpus");
    all
}

#[tokio::test]
async fn the_corpus_breaks_no_law_of_requests() {
    for (name, data) in corpus("requests") {
        println!("{name}"); // the last one shown is the one that broke the law
        requests::requests(&data).await;
    }
}

#[test]
fn the_corpus_breaks_no_law_of_urls() {
    for (name, data) in corpus("urls") {
        println!("{name}");
        urls::urls(&String::from_utf8_lossy(&data));
    }
}
