//! Who may know whom: **arrows point one way**, and nothing on the right knows the left.

use crate::source::{Source, sources};

/// Folders of src/storage that are stores of their own.
fn backends() -> Vec<String> {
    let folder = crate::source::root().join("src/storage");
    let entries = std::fs::read_dir(folder).expect("src/storage");
    let folders = entries
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.is_dir());
    let names = folders
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .filter(|name| name != "database");
    names.collect()
}

/// The paths that a layer names and none of `allowed` covers.
fn strangers(layer: &str, allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files_of(layer) {
        for (line, path) in file.paths() {
            let path = path.join("::");
            let is_allowed = allowed
                .iter()
                .any(|prefix| path == *prefix || path.starts_with(&format!("{prefix}::")));
            if !is_allowed && !path.is_empty() {
                found.push(format!("{} names {path}", file.at(line)));
            }
        }
    }
    found
}

fn files_of(layer: &str) -> Vec<Source> {
    let (inside, beside) = (format!("src/{layer}"), format!("src/{layer}.rs"));
    let files: Vec<_> = sources("src")
        .into_iter()
        .filter(|file| file.is_in(&inside) || file.is_in(&beside))
        .collect();
    assert!(
        !files.is_empty(),
        "there is no src/{layer}; say in tests/tidy what took its place"
    );
    files
}

/// Words that stand in the code of a layer and must not.
fn words(layer: &str, forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files_of(layer) {
        for word in forbidden {
            found.extend(
                file.places_of(word)
                    .into_iter()
                    .map(|place| format!("{place} names {word}")),
            );
        }
    }
    found
}

#[track_caller]
pub(crate) fn none(found: Vec<String>, what_to_do: &str) {
    assert!(found.is_empty(), "{what_to_do}\n  {}", found.join("\n  "));
}

const DRIVERS: [&str; 8] = [
    "axum",
    "hyper",
    "reqwest",
    "rusqlite",
    "refinery",
    "sled",
    "tokio_postgres",
    "redis",
];

#[test]
fn chat_imports_nothing_of_ours() {
    none(
        strangers("chat", &["chat"]),
        "src/chat is the words of the field: move what needs another module out of it",
    );
}

#[test]
fn chat_names_no_runtime_no_driver_no_clock_and_no_dice() {
    let mut found = words("chat", &DRIVERS);
    found.extend(words(
        "chat",
        &["tokio", "now_v7", "new_v4", "rand", "File", "Instant"],
    ));
    found.extend(
        words("chat", &["SystemTime"])
            .into_iter()
            .filter(|place| !place.starts_with("src/chat/time.rs:")),
    );
    none(
        found,
        "src/chat is pure functions: pass in what they need (time comes from the Clock of src/chat/time.rs)",
    );
}

#[test]
fn errors_import_nothing_of_ours() {
    none(
        strangers("error", &["error"]),
        "src/error.rs is below everything: let each backend convert its own failures into it",
    );
}

#[test]
fn the_key_imports_nothing_of_ours() {
    none(
        strangers("api_key", &["api_key"]),
        "src/api_key.rs is read by whoever sends a key and whoever asks for one: it knows neither",
    );
}

#[test]
fn embed_imports_only_the_words_of_the_field() {
    none(
        strangers("embed", &["embed", "chat", "api_key"]),
        "src/embed turns text into vectors and knows no store and no service: move the rest to src/service",
    );
}

#[test]
fn storage_imports_only_the_words_of_the_field_and_errors() {
    none(
        strangers("storage", &["storage", "chat", "error", "failpoint"]),
        "a store knows messages, not who asks for them: pass a value in, or move the decision to src/service",
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

#[test]
fn service_knows_stores_by_their_traits_only() {
    let allowed = [
        "service",
        "chat",
        "embed",
        "error",
        "failpoint",
        "storage::database",
        "storage::list_cache",
        "storage::Stores",
        "storage::ListCache",
        "storage::Storage",
        "storage::Promise",
        "storage::Stats",
        "storage::gated",
    ];
    let mut found = strangers("service", &allowed);
    found.extend(words("service", &DRIVERS));
    none(
        found,
        "src/service works with any backend: add what it needs to a trait in src/storage/database or list_cache.rs",
    );
}

#[test]
fn http_speaks_to_the_service_and_names_no_backend() {
    let allowed = [
        "http",
        "service",
        "api_key",
        "chat",
        "error",
        "storage::database",
        "storage::list_cache",
    ];
    let mut found = strangers("http", &allowed);
    let names = backends();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    found.extend(words("http", &names));
    found.extend(words("http", &["rusqlite"]));
    for file in files_of("http") {
        for (line, text) in &file.literals {
            if names.contains(&text.as_str()) {
                found.push(format!("{} writes {text:?}", file.at(*line)));
            }
        }
    }
    none(
        found,
        "src/http turns bytes into checked types and answers into JSON: ask the service, and take a backend's name from it",
    );
}

#[test]
fn backends_never_name_each_other() {
    let backends = backends();
    let mut found = Vec::new();
    for own in &backends {
        for file in files_of(&format!("storage/{own}")) {
            for (line, path) in file.paths() {
                let other = path.get(1).filter(|name| backends.contains(*name));
                if path.first().is_some_and(|first| first == "storage")
                    && other.is_some_and(|other| other != own)
                {
                    found.push(format!("{} names {}", file.at(line), path.join("::")));
                }
            }
        }
    }
    none(
        found,
        "a backend must be removable without touching another: move what two of them share to src/storage itself",
    );
}

#[test]
fn each_driver_stays_in_the_folder_of_its_backend() {
    let homes = [
        ("rusqlite", vec!["src/storage/sqlite"]),
        (
            "refinery",
            vec!["src/storage/sqlite", "src/storage/postgres"],
        ),
        // Also the name of our own module, which open.rs and mod.rs have to say.
        (
            "sled",
            vec![
                "src/storage/sled",
                "src/storage/open.rs",
                "src/storage/mod.rs",
            ],
        ),
        // As with sled.
        (
            "redis",
            vec![
                "src/storage/redis",
                "src/storage/open.rs",
                "src/storage/mod.rs",
            ],
        ),
        ("axum", vec!["src/http"]),
        ("reqwest", vec!["src/embed", "src/cli/remote.rs"]),
    ];
    let mut found = Vec::new();
    for file in sources("src") {
        for (driver, homes) in &homes {
            if !homes.iter().any(|home| file.is_in(home)) {
                found.extend(
                    file.places_of(driver)
                        .into_iter()
                        .map(|place| format!("{place} names {driver}")),
                );
            }
        }
    }
    none(
        found,
        "a driver is named in one place, so that it can be replaced there: go through the trait",
    );
}

#[test]
fn only_storage_open_names_the_backends() {
    let backends = backends();
    let mut found = Vec::new();
    for file in sources("src") {
        let is_open = file.is_in("src/storage/open.rs");
        for (line, path) in file.paths() {
            let Some(backend) = path.get(1).filter(|name| backends.contains(*name)) else {
                continue;
            };
            let is_own = file.is_in(&format!("src/storage/{backend}"));
            if path[0] == "storage" && !is_open && !is_own {
                found.push(format!("{} names {}", file.at(line), path.join("::")));
            }
        }
    }
    none(
        found,
        "src/storage/open.rs is the only place that knows every backend: open it there by URL",
    );
}

#[test]
fn only_cli_opens_stores_and_embedders() {
    let mut found = Vec::new();
    for file in sources("src") {
        for (line, path) in file.paths() {
            let opens = path
                .get(..2)
                .is_some_and(|path| path == ["storage", "open"] || path == ["embed", "open"]);
            let may = [
                "src/cli",
                "src/config.rs",
                "src/config",
                "src/storage",
                "src/embed",
            ];
            if opens && !may.iter().any(|place| file.is_in(place)) {
                found.push(format!("{} names {}", file.at(line), path.join("::")));
            }
        }
    }
    none(
        found,
        "src/cli puts the program together: take opened stores as arguments",
    );
}

/// The bench is a client of a server, or of stores behind their traits: what it measures must not depend on which ones.
#[test]
fn bench_opens_stores_by_url_and_asks_a_server_over_http() {
    let allowed = [
        "cli",
        "chat",
        "config",
        "error",
        "service::Parts",
        "storage::open",
        "storage::database",
        "storage::list_cache",
        "storage::Stores",
        "storage::ListCache",
        "storage::Promise",
    ];
    let mut found = strangers("cli/bench", &allowed);
    found.extend(words("cli/bench", &DRIVERS));
    for file in sources("src") {
        let outside = !file.is_in("src/cli/bench") && !file.is_in("src/cli/mod.rs");
        let paths = file
            .paths()
            .into_iter()
            .filter(|(_, path)| outside && path.join("::").starts_with("cli::bench"));
        found.extend(
            paths.map(|(line, path)| format!("{} names {}", file.at(line), path.join("::"))),
        );
    }
    none(
        found,
        "src/cli/bench measures and is used by nobody: open stores by URL, and start a server as a process",
    );
}
