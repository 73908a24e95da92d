//! What the fuzzer has found so far, kept in fuzz/corpus: whatever once broke a law of whole requests or of URLs must never
//! break it again. The laws of what is inside of a module are replayed by the tests beside them.
//!
//! What the fuzzer found when it first ran: JSON whose beginning has a wrong shape and whose end is no JSON (`3 x`) was a 422; an
//! array in a Redis list was taken for a message; a password in a `postgres://` URL with an unescaped `@` or `/` was shown in
//! parts as the name of a host or a database; and `Allow` told the methods of a route to who had no key (found by tests/http).
//!
//! Put in by hand and caught within seconds: guest ids of 130 bytes ("is_legal"), vectors given to the texts in the order of the
//! answer and not by their index, and a head of a sled list that ends before it begins.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

#[path = "../../../fuzz/laws/requests.rs"]
mod requests;
#[path = "../../../fuzz/laws/urls.rs"]
mod urls;

use std::fs;
use std::path::Path;

/// Every input that is kept for a target, with its name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
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
