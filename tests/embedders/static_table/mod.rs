//! The built-in embedder: its files, its bits, and how well it finds.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use guestbook::core::Vector;
use guestbook::embed::table::{DIGEST, StaticTable};
use guestbook::embed::{Embedder, InlineEmbedder};
use guestbook_testkit::evaluation::Evaluation;
use serde::Deserialize;
use sha2::{Digest, Sha256};

const ASSETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/embedding/");
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/");

/// Ordinary texts and Unicode oddities, for the known answer.
const TEXTS: [&str; 12] = [
    "can you move my dentist appointment to friday afternoon?",
    "I paid 140 euros for the cleaning last month",
    "the",
    "Crème brûlée à la carte, naïve façade",
    "I\u{307}STANBUL e\u{301}\u{323} ß ẞ ﬁ Å",
    "日本語のテキスト 豈",
    "한국어 텍스트",
    "zero\u{200b}width so\u{ad}ft tab\u{b}vt a\u{378}b",
    "great job 🎉👍🏽",
    "https://example.com/a?b=c&d=%20#f",
    "antidisestablishmentarianism",
    "“quotes” — ¿qué? ½ ² ℃",
];

/// SHA-256 over the 256-byte vectors of [`TEXTS`], in order. It must not change without a new model file:
/// vectors stored under the same model id would no longer be comparable.
const KNOWN: &str = "e82f1a122314f7942c14c60b0455a1211f797ed740408e8dc9c87a9f4b2fbab9";

fn embed(table: &StaticTable, text: &str) -> Option<Vector> {
    table.embed_now(text).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn the_files_are_those_that_sha256sums_names() {
    let sums = std::fs::read_to_string(format!("{ASSETS}SHA256SUMS")).unwrap();
    let mut seen = Vec::new();
    for line in sums.lines() {
        let (sum, file) = line.split_once("  ").unwrap();
        let bytes = std::fs::read(format!("{ASSETS}{file}")).unwrap();
        assert_eq!(hex(&Sha256::digest(bytes)), sum, "{file}");
        if file == "static.sem" {
            assert_eq!(hex(&DIGEST), sum, "the pinned digest");
        }
        seen.push(file);
    }
    assert_eq!(seen, ["static.sem", "vocab.txt"]);
}

#[test]
fn the_vectors_are_the_same_to_the_bit() {
    let table = StaticTable::new();
    assert_eq!(table.model().as_str(), "static-256-i8:256:6355d7a0");
    let mut digest = Sha256::new();
    for text in TEXTS {
        let vector = embed(&table, text).unwrap();
        assert_eq!(vector.dimension(), table.dimension());
        digest.update(vector.to_bytes());
    }
    let found = hex(&digest.finalize());
    let first = embed(&table, TEXTS[0]).unwrap();
    assert_eq!(found, KNOWN, "{:?}", &first.components()[..8]);
}

#[tokio::test]
async fn text_without_a_known_piece_has_no_vector() {
    let table = StaticTable::new();
    let nothing = [
        "",
        " \t\n",
        "🎉🎉👍🏽",
        "\u{200b}\u{feff}",
        "\u{13000}\u{13001}",
    ];
    for text in nothing {
        assert_eq!(table.embed_now(text), Ok(None), "{text:?}");
    }
    let answers = table.embed(&["hello", "🎉", "hello!"]).await;
    let found: Vec<_> = answers.into_iter().map(|answer| answer.unwrap()).collect();
    assert_eq!(found[0], embed(&table, "HELLO"));
    assert_eq!(found[1], None);
    assert_eq!(found[2], embed(&table, "hello!"));
}

/// The reference's answers, from Hugging Face `tokenizers` 0.23 for Python, without special tokens.
#[test]
fn pieces_are_those_of_the_reference() {
    #[derive(Deserialize)]
    struct Case {
        text: String,
        ids: Vec<u32>,
    }
    let cases = std::fs::read_to_string(format!("{DATA}wordpiece.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&cases).unwrap();
    let table = StaticTable::new();
    for Case { text, ids } in cases {
        assert_eq!(table.pieces(&text), ids, "{text:?}");
    }
}

#[test]
fn a_long_or_strange_message_is_no_trouble() {
    let table = StaticTable::new();
    assert!(embed(&table, &"a long message ".repeat(10_000)).is_some());
    assert!(embed(&table, &"x".repeat(1_000_000)).is_none());
    // Every character, in runs that end nowhere in particular.
    let all: Vec<char> = (0..=char::MAX as u32).filter_map(char::from_u32).collect();
    for run in all.chunks(97) {
        let text: String = run.iter().collect();
        let pieces = table.pieces(&text);
        assert!(
            pieces
                .iter()
                .all(|&id| (id as usize) < table.vocabulary_size())
        );
    }
}

#[test]
fn it_finds_what_is_meant() {
    let (set, table) = (Evaluation::read(), StaticTable::new());
    let vectors = |texts: Vec<&str>| -> Vec<_> {
        let vectors = texts.into_iter().map(|text| embed(&table, text).unwrap());
        vectors.collect()
    };
    let (messages, queries) = (vectors(set.messages()), vectors(set.queries()));
    let ranks = set.ranks(&messages, &queries);
    ranks.print();
    let in_chats = set.ranks_in_chats(&messages, &queries);
    in_chats.print();
    let first = in_chats.within(1);
    assert!(first >= 0.80, "R@1 within chats is {first:.3}");
    assert!(ranks.within(1) >= 0.70, "R@1 is {:.3}", ranks.within(1));
    assert!(ranks.mrr() >= 0.78, "MRR is {:.3}", ranks.mrr());
    assert!(ranks.within(5) >= 0.85, "R@5 is {:.3}", ranks.within(5));
}

/// `cargo test --release --test embed_static -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, for release builds on a quiet machine"]
fn how_fast_it_is() {
    const MESSAGES: [&str; 4] = [
        "our flight to lisbon leaves at 6:40 in the morning from terminal 2",
        "please cancel my order, I don't want the blue headphones anymore",
        "I need to reschedule the dentist, friday after lunch would work",
        "the headphones arrived but the left ear cup is silent, what now?",
    ];
    const ROUNDS: u32 = 50_000;
    let begin = Instant::now();
    let table = StaticTable::new();
    println!("start-up {:?}", begin.elapsed());
    let pieces: usize = MESSAGES.iter().map(|text| table.pieces(text).len()).sum();
    let mut best = f64::MAX;
    for _ in 0..5 {
        let begin = Instant::now();
        for _ in 0..ROUNDS {
            for text in MESSAGES {
                black_box(embed(&table, black_box(text)));
            }
        }
        let calls = f64::from(ROUNDS) * MESSAGES.len() as f64;
        best = best.min(begin.elapsed().as_secs_f64() * 1e6 / calls);
    }
    let pieces = pieces as f64 / MESSAGES.len() as f64;
    println!("{best:.2} us a message of {pieces:.1} pieces");
}
