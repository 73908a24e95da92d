//! The guard of the prompt cache with the built-in model: what it lets through of the prompts that people really mix up.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

use guestbook::core::same_question;
use guestbook::embed::table::StaticTable;
use guestbook::embed::{Embedder, InlineEmbedder};
use serde::Deserialize;

const PAIRS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/data/eval_dev.json"
);
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

/// What differs in a capital within the sentence, or in a request around quoted words, is not told from what differs in meaning.
#[test]
fn the_beginning_of_a_sentence_its_mark_and_politeness_do_not_matter() {
    let (found, count) = hits(&["format"]);
    assert_eq!(count, 5);
    let asked: Vec<_> = found.iter().map(|pair| pair.a.as_str()).collect();
    let expected = [
        "Summarize this article.",
        "hi, what are your opening hours?",
    ];
    assert_eq!(asked, expected, "{:#?}", shown(&found));
}

/// Without the model, too: it says only that two prompts are of one subject.
#[test]
fn the_guard_alone_refuses_every_hard_pair() {
    let mut passed = pairs(&HARD);
    passed.extend(pairs(&["unrelated"]));
    passed.retain(|pair| same_question(&pair.a, &pair.b) || same_question(&pair.b, &pair.a));
    assert!(passed.is_empty(), "{:#?}", shown(&passed));
}

/// Every prompt there is, and some that hold more than prose.
fn prompts() -> Vec<String> {
    let pairs = pairs(&["format", "paraphrase_close", "unrelated"]);
    let mut prompts: Vec<_> = pairs
        .into_iter()
        .flat_map(|pair| [pair.a, pair.b])
        .collect();
    prompts.extend(pairs_of_hard());
    let formal = [
        "compute (2+3)*4",
        "what does ls -l do?",
        "is (a and b) or c the same as a and (b or c)",
        "what is x - y if !x and y = 5!",
        "what does a ?? b mean in C#",
        "SELECT name, age FROM users WHERE age >= 18;",
        "why is 0.1 + 0.2 != 0.3",
        "how do I say it in Polish in May",
        "explain `fn f(x: &str) -> [u8; 4]`",
    ];
    prompts.extend(formal.map(str::to_owned));
    prompts
}

fn pairs_of_hard() -> Vec<String> {
    let pairs = pairs(&HARD).into_iter();
    pairs.flat_map(|pair| [pair.a, pair.b]).collect()
}

/// Whether nothing but politeness is before it: there a sentence begins, and its capital says nothing.
fn begins(before: &str) -> bool {
    ["", "hi, ", "please "].contains(&before.to_lowercase().as_str())
}

/// Prompts that differ from this one in one sign, digit or capital within the sentence.
fn changed(prompt: &str) -> Vec<String> {
    const SIGNS: &str = "+-*/=<>&|^%~()[]{}#@$\\`\":;_!0123456789";
    let mut changed = Vec::new();
    for (at, c) in prompt.char_indices() {
        let (before, after) = (&prompt[..at], &prompt[at + c.len_utf8()..]);
        // `please! send it`
        let is_courtesy = |sign| sign == '!' && c == ' ' && begins(&format!("{before} "));
        let signs = SIGNS.chars().filter(|sign| !is_courtesy(*sign));
        changed.extend(signs.map(|sign| format!("{before}{sign}{c}{after}")));
        let is_end = after.is_empty() && matches!(c, '.' | '?');
        // The comma in `hi, what` and in `the office vpn, how?`.
        let is_comma = c == ',' && (begins(&format!("{before}, ")) || after.starts_with(" how"));
        if !c.is_alphanumeric() && !matches!(c, ' ' | '\'') && !is_end && !is_comma {
            changed.push(format!("{before}{after}"));
            changed.push(format!("{before}\u{a7}{after}"));
        }
        if c.is_ascii_digit() {
            changed.push(format!("{before}{after}"));
            changed.push(format!("{before}{}{after}", (c as u8 - b'0' + 1) % 10));
        }
        let is_pronoun = matches!(c, 'i' | 'I') && before.ends_with(' ') && after.starts_with(' ');
        if c.is_ascii_alphabetic() && !begins(before) && !is_pronoun {
            let mut other = c;
            other.make_ascii_uppercase();
            if other == c {
                other.make_ascii_lowercase();
            }
            changed.push(format!("{before}{other}{after}"));
        }
    }
    changed.extend(SIGNS.chars().map(|sign| format!("{prompt} {sign}")));
    changed
}

#[test]
fn no_other_sign_digit_or_capital_within_a_sentence_asks_the_same() {
    let (mut compared, mut wrong) = (0, Vec::new());
    for prompt in prompts() {
        for other in changed(&prompt) {
            compared += 1;
            if same_question(&prompt, &other) || same_question(&other, &prompt) {
                wrong.push(format!("{prompt} | {other}"));
            }
        }
    }
    println!("{compared} changes of prompts");
    assert!(compared > 50_000, "{compared}");
    let count = wrong.len();
    wrong.truncate(40);
    assert!(wrong.is_empty(), "{count}: {wrong:#?}");
}
