//! The guard of the prompt cache with the built-in model: what it lets through of the prompts that people really mix up.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

use guestbook::chat::same_question;
use guestbook::embed::table::StaticTable;
use guestbook::embed::{Embedder, InlineEmbedder};
use serde::Deserialize;

const PAIRS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/eval_dev.json");
/// Different questions that look alike, by what makes them different.
const HARD: [&str; 6] = [
    "negation",
    "number",
    "entity",
    "role_order",
    "antonym",
    "intent",
];

#[derive(Deserialize)]
struct Set {
    cache_pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    a: String,
    b: String,
    kind: String,
}

fn pairs(kinds: &[&str]) -> Vec<Pair> {
    let set: Set = serde_json::from_str(&std::fs::read_to_string(PAIRS).unwrap()).unwrap();
    let mut pairs = set.cache_pairs;
    pairs.retain(|pair| kinds.contains(&pair.kind.as_str()));
    pairs
}

/// The pairs that would be answered from the cache, and how many there are.
fn hits(kinds: &[&str]) -> (Vec<Pair>, usize) {
    let (table, mut pairs) = (StaticTable::new(), pairs(kinds));
    let threshold = table.same_above().unwrap();
    let count = pairs.len();
    pairs.retain(|pair| {
        let vector = |text: &str| table.embed_now(text).unwrap().unwrap();
        let score = vector(&pair.a).cosine(&vector(&pair.b)).unwrap();
        score >= threshold && same_question(&pair.a, &pair.b)
    });
    (pairs, count)
}

fn shown(pairs: &[Pair]) -> Vec<String> {
    let show = |pair: &Pair| format!("{}: {} | {}", pair.kind, pair.a, pair.b);
    pairs.iter().map(show).collect()
}

#[test]
fn what_only_looks_alike_is_not_answered() {
    let (false_hits, count) = hits(&HARD);
    println!("{}/{count} false hits", false_hits.len());
    assert_eq!(count, 41);
    let most = count as f64 * 0.03;
    assert!(false_hits.len() as f64 <= most, "{:#?}", shown(&false_hits));
}

#[test]
fn what_is_asked_in_other_words_mostly_is() {
    let (found, count) = hits(&["paraphrase_close"]);
    println!("{}/{count} close paraphrases", found.len());
    assert_eq!(count, 12);
    let least = count as f64 * 0.55;
    assert!(found.len() as f64 >= least, "{:#?}", shown(&found));
}

#[test]
fn case_punctuation_and_politeness_do_not_matter() {
    let (found, count) = hits(&["format"]);
    assert_eq!(found.len(), count, "{:#?}", shown(&found));
}

/// Without the model, too: it says only that two prompts are of one subject.
#[test]
fn the_guard_alone_refuses_every_hard_pair() {
    let mut passed = pairs(&HARD);
    passed.extend(pairs(&["unrelated"]));
    passed.retain(|pair| same_question(&pair.a, &pair.b) || same_question(&pair.b, &pair.a));
    assert!(passed.is_empty(), "{:#?}", shown(&passed));
}
