//! all-MiniLM-L6-v2 from its ordinary files: as the reference, as well as it should find, and bad files said as such.
//!
//! The files come from `tests/models`; where that cannot be, SKIP is printed, and `GUESTBOOK_REQUIRE_RIGS` makes it a failure.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use guestbook::core::Vector;
use guestbook::embed::Embedder;
use guestbook::minilm::MiniLm;
use guestbook_testkit::evaluation::Evaluation;

const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The folder of the model.
fn folder() -> Option<PathBuf> {
    let output = Command::new(format!("{TOP}/tests/models"))
        .output()
        .unwrap();
    if output.status.code() == Some(77) {
        let required = std::env::var_os("GUESTBOOK_REQUIRE_RIGS").is_some();
        let reason = String::from_utf8_lossy(&output.stderr);
        assert!(!required, "GUESTBOOK_REQUIRE_RIGS is set, but: {reason}");
        println!("SKIP: {reason}");
        return None;
    }
    assert!(output.status.success(), "{output:?}");
    let path = String::from_utf8(output.stdout).unwrap();
    Some(path.trim_end().into())
}

fn read(name: &str) -> Vec<u8> {
    fs::read(format!("{TOP}/tests/data/{name}")).unwrap()
}

async fn embed(model: &MiniLm, texts: &[&str]) -> Vec<Vector> {
    let answers = model.embed(texts).await;
    answers
        .into_iter()
        .map(|answer| answer.unwrap().unwrap())
        .collect()
}

fn cosine(vector: &Vector, reference: &[f64]) -> f64 {
    let ours: Vec<_> = vector.components().iter().map(|x| f64::from(*x)).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&ours, reference) / (dot(&ours, &ours) * dot(reference, reference)).sqrt()
}

#[tokio::test]
async fn vectors_are_those_of_the_reference() {
    let Some(folder) = folder() else { return };
    let model = MiniLm::open(&folder).unwrap();
    assert_eq!(model.model().as_str(), "minilm-q8:384:53aa5117");
    assert!(model.inline().is_none(), "never on the request path");
    let texts: Vec<String> = serde_json::from_slice(&read("minilm_texts.json")).unwrap();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let numbers = read("minilm_vectors.i16");
    let numbers = numbers.as_chunks::<2>().0.iter();
    let numbers: Vec<_> = numbers
        .map(|pair| f64::from(i16::from_le_bytes(*pair)))
        .collect();
    let references: Vec<_> = numbers.chunks(384).collect();
    assert_eq!(references.len(), texts.len());
    let mut least = (1.0, "");
    for ((vector, reference), text) in embed(&model, &texts)
        .await
        .iter()
        .zip(references)
        .zip(texts)
    {
        let cosine = cosine(vector, reference);
        least = if cosine < least.0 {
            (cosine, text)
        } else {
            least
        };
    }
    println!("least cosine {:.5}: {:.60?}", least.0, least.1);
    assert!(least.0 >= 0.998, "{least:?}");
}

#[tokio::test]
async fn text_without_a_known_piece_has_no_vector() {
    let Some(folder) = folder() else { return };
    let model = MiniLm::open(&folder).unwrap();
    let nothing = ["", " \t\n", "🎉🎉👍🏽", "\u{200b}", "\u{13000}"];
    for answer in model.embed(&nothing).await {
        assert_eq!(answer, Ok(None));
    }
}

#[tokio::test]
async fn it_finds_what_is_meant() {
    let Some(folder) = folder() else { return };
    let (set, model) = (Evaluation::read(), MiniLm::open(&folder).unwrap());
    let messages = embed(&model, &set.messages()).await;
    let queries = embed(&model, &set.queries()).await;
    let ranks = set.ranks(&messages, &queries);
    ranks.print();
    // The reference in f32, nothing rounded, finds 35 of these 40 first, R@5 1.000, MRR 0.9271 (over all 83 queries of the set,
    // of which we have these, 0.94 and 0.965): no less here.
    assert!(ranks.within(1) >= 0.875, "R@1 is {:.3}", ranks.within(1));
    assert!(ranks.within(5) >= 1.0, "R@5 is {:.3}", ranks.within(5));
    assert!(ranks.mrr() >= 0.927, "MRR is {:.4}", ranks.mrr());
    let in_chats = set.ranks_in_chats(&messages, &queries);
    in_chats.print();
    // The reference finds 37 of 40 first there.
    let first = in_chats.within(1);
    assert!(first >= 0.90, "R@1 within chats is {first:.3}");
}

const CONFIG: &str = r#"{"model_type":"bert","hidden_act":"gelu","hidden_size":4,"intermediate_size":8,
    "num_attention_heads":2,"num_hidden_layers":1,"max_position_embeddings":6,"type_vocab_size":2,"vocab_size":5,
    "layer_norm_eps":1e-12}"#;

/// A model of 4 dimensions and 5 pieces.
fn small(folder: &Path) {
    let mut tensors: Vec<(String, Vec<usize>)> = Vec::new();
    let mut put = |name: &str, shape: &[usize]| tensors.push((name.to_owned(), shape.to_vec()));
    put("embeddings.word_embeddings.weight", &[5, 4]);
    put("embeddings.position_embeddings.weight", &[6, 4]);
    put("embeddings.token_type_embeddings.weight", &[2, 4]);
    let layer = |name: &str| format!("encoder.layer.0.{name}");
    let norms = [
        layer("attention.output.LayerNorm"),
        layer("output.LayerNorm"),
    ];
    for name in norms
        .iter()
        .map(String::as_str)
        .chain(["embeddings.LayerNorm"])
    {
        put(&format!("{name}.weight"), &[4]);
        put(&format!("{name}.bias"), &[4]);
    }
    for (name, rows, columns) in [
        ("attention.self.query", 4, 4),
        ("attention.self.key", 4, 4),
        ("attention.self.value", 4, 4),
        ("attention.output.dense", 4, 4),
        ("intermediate.dense", 8, 4),
        ("output.dense", 4, 8),
    ] {
        put(&layer(&format!("{name}.weight")), &[rows, columns]);
        put(&layer(&format!("{name}.bias")), &[rows]);
    }
    let (mut header, mut body) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let begin = body.len();
        for n in 0..shape.iter().product() {
            let value = ((begin + 7 * n) % 23) as f32 / 11.0 - 1.0;
            body.extend(value.to_le_bytes());
        }
        let place = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, body.len()]});
        header.insert(name, place);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(body);
    fs::write(folder.join("model.safetensors"), file).unwrap();
    fs::write(folder.join("config.json"), CONFIG).unwrap();
    fs::write(
        folder.join("vocab.txt"),
        "[UNK]\n[CLS]\n[SEP]\nhello\nworld\n",
    )
    .unwrap();
}

#[tokio::test]
async fn bad_files_are_refused_with_what_is_wrong_where_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    small(path);
    assert_eq!(MiniLm::open(path).unwrap().dimension(), 4);
    let change = |file: &str, from: &str, to: &str| {
        small(path);
        let old = fs::read(path.join(file)).unwrap();
        let at = old
            .windows(from.len())
            .position(|part| part == from.as_bytes());
        let at = at.unwrap_or_else(|| panic!("{from} is not in {file}"));
        let new = [&old[..at], to.as_bytes(), &old[at + from.len()..]].concat();
        fs::write(path.join(file), new).unwrap();
        MiniLm::open(path).unwrap_err().to_string()
    };
    let model = "model.safetensors";
    for (file, from, to, says) in [
        ("config.json", "{", "", "does not describe a model"),
        (
            "config.json",
            "\"bert\"",
            "\"t5\"",
            "only \"bert\" is known",
        ),
        (
            "config.json",
            "\"hidden_size\":4",
            "\"hidden_size\":0",
            "hidden_size is 0",
        ),
        ("config.json", "heads\":2", "heads\":3", "no multiple"),
        (
            "vocab.txt",
            "world\n",
            "",
            "it has 4 pieces, and config.json says 5",
        ),
        ("vocab.txt", "[CLS]", "[CLX]", "it has no [CLS]"),
        ("vocab.txt", "[UNK]", "[UNX]", "no [UNK]"),
        (model, "\"F32\"", "\"F16\"", "only F32 is read"),
        (model, "[5,4]", "[4,5]", "it should have [5, 4]"),
        (
            model,
            "word_embeddings",
            "wurd_embeddings",
            "has no tensor embeddings.word",
        ),
        (model, "{", "[", "not the JSON of a safetensors file"),
    ] {
        let error = change(file, from, to);
        assert!(error.contains(says), "{file} {from}: {error}");
        assert!(
            error.contains(file) && error.contains("the folder must hold"),
            "{error}"
        );
    }
    small(path);
    fs::remove_file(path.join(model)).unwrap();
    let error = MiniLm::open(path).unwrap_err().to_string();
    assert!(error.contains("cannot be opened"), "{error}");
}

#[tokio::test]
async fn a_file_cut_off_anywhere_or_with_any_byte_changed_is_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    small(folder.path());
    let whole = fs::read(&file).unwrap();
    for length in 0..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        assert!(MiniLm::open(folder.path()).is_err(), "{length} bytes");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] = bytes[at].wrapping_add(0x5b);
        fs::write(&file, bytes).unwrap();
        if let Ok(model) = MiniLm::open(folder.path()) {
            let _ = model.embed(&["hello world hello world hello"]).await;
        }
    }
}
