//! What may stand in one place only.

use crate::rules::layers::none;
use crate::rules::source::sources;

#[test]
fn features_are_asked_for_in_few_places_only() {
    let may = [
        "src/guestbook/open.rs",
        "src/guestbook/lib.rs",
        "src/guestbook/config.rs",
        "src/failpoint/lib.rs",
    ];
    let mut found = Vec::new();
    for file in sources("src") {
        let lines = file.text.lines().enumerate();
        let asks = |line: &str| {
            let line = line.trim_start();
            !line.starts_with("//")
                && ["cfg(", "cfg!(", "cfg_attr("]
                    .iter()
                    .any(|cfg| line.contains(cfg))
                && line.contains("feature")
        };
        if !may.iter().any(|place| file.is_in(place)) {
            found.extend(
                lines
                    .filter(|(_, line)| asks(line))
                    .map(|(index, _)| file.at(index + 1)),
            );
        }
    }
    none(
        found,
        "cfg(feature) stands only where backends are opened, declared, and listed by --version, and in src/failpoint/lib.rs",
    );
}

/// Each layer shows its decoders to the fuzzer in a module of its own, so that none has to know another for it.
#[test]
fn what_is_shown_to_the_fuzzer_is_in_no_build_of_the_program() {
    let declared = "#[cfg(any(test, fuzzing))]\n#[doc(hidden)]\npub mod fuzzing;";
    let mut found = Vec::new();
    for file in sources("src") {
        let all = file.code.matches("mod fuzzing").count();
        let hidden = file.text.matches(declared).count();
        let names = file.code.matches("fuzzing::").count();
        let is_one = file.path.ends_with("/fuzzing.rs");
        if all != hidden || (names > 0 && !is_one) {
            found.push(file.path.clone());
        }
    }
    none(
        found,
        "laws for the fuzzer stand in fuzzing.rs of their layer, declared with cfg(any(test, fuzzing)) and doc(hidden)",
    );
}

#[test]
fn routes_are_added_in_one_table() {
    let mut found = Vec::new();
    for file in sources("src/http")
        .iter()
        .filter(|file| !file.is_in("src/http/routes.rs"))
        .filter(|file| file.code.contains("Router"))
    {
        for adding in [
            ".route(",
            ".route_service(",
            ".nest(",
            ".nest_service(",
            ".merge(",
            "Router::new",
        ] {
            for (index, line) in file.code.lines().enumerate() {
                if line.contains(adding) {
                    found.push(format!("{} has {adding}", file.at(index + 1)));
                }
            }
        }
    }
    none(
        found,
        "add a route to the table of src/http/routes.rs: what stands beside it is not guarded by the key, and no test knows it",
    );
}
