//! Who may know whom: **arrows point one way**, and nothing on the right knows the left. The compiler holds it, because a crate
//! can only name what stands in its Cargo.toml; this reads what stands there.

use crate::rules::source::{Source, read, root, sources};
use std::collections::BTreeMap;

/// Each crate below src/, and the crates of ours that it may import.
const LAYERS: [(&str, &[&str]); 16] = [
    ("core", &["kernel"]),
    ("kernel", &[]),
    ("failpoint", &[]),
    ("storage", &["core"]),
    ("storage-contract", &["core", "storage"]),
    ("sqlite", &["core", "failpoint", "storage"]),
    ("postgres", &["core", "failpoint", "storage"]),
    ("sled", &["core", "storage"]),
    ("redis", &["core", "storage"]),
    ("embed", &["core"]),
    ("minilm", &["core", "embed", "kernel"]),
    ("service", &["core", "embed", "failpoint", "storage"]),
    ("http", &["core", "service", "storage"]),
    ("chart", &[]),
    ("bench", &["chart", "core", "service", "storage"]),
    (
        "guestbook",
        &[
            "bench",
            "core",
            "embed",
            "failpoint",
            "http",
            "minilm",
            "postgres",
            "redis",
            "service",
            "sled",
            "sqlite",
            "storage",
        ],
    ),
];

/// Drivers, and the crates that may name them: a driver is replaced in one place.
const DRIVERS: [(&str, &[&str]); 8] = [
    ("axum", &["http"]),
    ("reqwest", &["embed", "guestbook"]),
    ("rusqlite", &["sqlite"]),
    ("refinery", &["sqlite", "postgres"]),
    ("sled", &["sled"]),
    ("tokio-postgres", &["postgres"]),
    ("redis", &["redis"]),
    ("fail", &["failpoint"]),
];

/// The dependencies of a crate that it ships with: the lines of `[dependencies]`.
fn dependencies(folder: &str) -> Vec<String> {
    let manifest = read(&format!("src/{folder}/Cargo.toml"));
    let (_, rest) = manifest.split_once("[dependencies]").unwrap_or_default();
    let lines = rest
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    let name = |line: &str| {
        line.split(['.', ' ', '='])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    lines
        .map(name)
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect()
}

/// The folders below src/, each a crate.
fn crates() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("src")).expect("src");
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let names = paths
        .filter(|path| path.is_dir())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    names.collect()
}

/// Words that stand in the code of a crate and must not.
fn words(folder: &str, forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files_of(folder) {
        for word in forbidden {
            let places = file.places_of(word).into_iter();
            found.extend(places.map(|place| format!("{place} names {word}")));
        }
    }
    found
}

fn files_of(folder: &str) -> Vec<Source> {
    sources(&format!("src/{folder}"))
}

#[track_caller]
pub(crate) fn none(found: Vec<String>, what_to_do: &str) {
    assert!(found.is_empty(), "{what_to_do}\n  {}", found.join("\n  "));
}

#[test]
fn arrows_point_one_way() {
    let allowed: BTreeMap<_, _> = LAYERS.into_iter().collect();
    let mut found = Vec::new();
    for folder in crates() {
        let Some(may) = allowed.get(folder.as_str()) else {
            found.push(format!("src/{folder} is in no layer"));
            continue;
        };
        for dependency in dependencies(&folder) {
            if let Some(ours) = dependency.strip_prefix("guestbook-")
                && !may.contains(&ours)
            {
                found.push(format!("src/{folder}/Cargo.toml names {dependency}"));
            }
        }
    }
    none(
        found,
        "nothing on the right knows the left: pass a value in, or move what is shared to src/core or src/storage",
    );
}

#[test]
fn each_driver_stays_in_the_crate_of_its_backend() {
    let mut found = Vec::new();
    for folder in crates() {
        for dependency in dependencies(&folder) {
            let home = DRIVERS.iter().find(|(driver, _)| *driver == dependency);
            if home.is_some_and(|(_, homes)| !homes.contains(&folder.as_str())) {
                found.push(format!("src/{folder}/Cargo.toml names {dependency}"));
            }
        }
    }
    none(
        found,
        "a driver is named in one crate, so that it can be replaced there: go through the trait",
    );
}

#[test]
fn core_names_no_runtime_no_driver_no_clock_and_no_dice() {
    let mut found = words(
        "core",
        &["tokio", "now_v7", "new_v4", "rand", "File", "Instant"],
    );
    let clock = words("core", &["SystemTime"]);
    found.extend(
        clock
            .into_iter()
            .filter(|place| !place.starts_with("src/core/time.rs:")),
    );
    none(
        found,
        "src/core is pure functions: pass in what they need (time comes from the Clock of src/core/time.rs)",
    );
}

#[test]
fn http_names_no_backend() {
    let backends = [
        "sqlite",
        "postgres",
        "postgresql",
        "sled",
        "redis",
        "rusqlite",
    ];
    let mut found = words("http", &backends);
    for file in files_of("http") {
        let texts = file
            .literals
            .iter()
            .filter(|(_, text)| backends.contains(&text.as_str()));
        found.extend(texts.map(|(line, text)| format!("{} writes {text:?}", file.at(*line))));
    }
    none(
        found,
        "src/http turns bytes into checked types and answers into JSON: ask the service, and take a backend's name from it",
    );
}

#[test]
fn only_the_binary_opens_stores_and_embedders() {
    let mut found = Vec::new();
    for folder in ["service", "http", "bench"] {
        found.extend(words(folder, &["DatabaseUrl", "CacheUrl", "EmbedderSpec"]));
    }
    none(
        found,
        "src/guestbook puts the program together: take opened stores as arguments",
    );
}

#[test]
fn the_reference_model_does_not_use_the_planner() {
    none(
        words(
            "storage/memory",
            &["plan", "conversation_state", "stored_ids"],
        ),
        "src/storage/memory is what the planner is compared with: work it out there by itself",
    );
}

/// A law that no macro lists would never run, and nobody would notice: the laws are public.
#[test]
fn every_law_of_the_contract_is_listed() {
    let listed = read("src/storage-contract/lib.rs");
    let mut found = Vec::new();
    for file in files_of("storage-contract") {
        let takes_fixture =
            |line: &&str| line.starts_with("pub async fn ") && line.contains("(f: &Fixture)");
        for line in file.text.lines().filter(takes_fixture) {
            let name = line["pub async fn ".len()..]
                .split('(')
                .next()
                .unwrap_or_default();
            let module = file.path.rsplit('/').next().unwrap_or_default();
            if module != "words.rs" && !listed.contains(&format!("{name},")) {
                found.push(format!("{} has {name}", file.path));
            }
        }
    }
    none(
        found,
        "list these laws in the macro of src/storage-contract/lib.rs",
    );
}
