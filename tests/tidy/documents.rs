//! README.md and ARCHITECTURE.md say what the code does: settings, routes, links, and the tests that hold each invariant.

use crate::source::{read, root, sources};
use clap::CommandFactory;
use guestbook::config::Cli;
use guestbook::http::routes;
use std::collections::{BTreeMap, BTreeSet};

const DOCUMENTS: [&str; 2] = ["README.md", "ARCHITECTURE.md"];

/// A row of the settings table: what stands in its first three cells.
#[derive(Debug, Eq, PartialEq)]
struct Setting {
    variable: String,
    default: String,
}

/// The settings of `--help`, by flag.
fn settings_of_the_program() -> BTreeMap<String, Setting> {
    let command = Cli::command();
    let mut settings = BTreeMap::new();
    for argument in command.get_arguments() {
        let (Some(flag), Some(variable)) = (argument.get_long(), argument.get_env()) else {
            continue;
        };
        let defaults = argument.get_default_values().iter();
        let default: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
        let setting = Setting {
            variable: variable.to_string_lossy().into_owned(),
            default: default.join(" "),
        };
        settings.insert(format!("--{flag}"), setting);
    }
    settings
}

/// The rows of README's settings table, by flag: `| \`--flag\` | \`VARIABLE\` | \`default\` | … |`.
fn settings_of_the_readme() -> BTreeMap<String, Setting> {
    let readme = read("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `--"));
    let cell = |cell: &str| {
        // A cell may say more than the value, such as a second variable: the first word in backticks counts.
        let mut quoted = cell.split('`').skip(1);
        quoted.next().unwrap_or_default().to_owned()
    };
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").map(cell).collect();
        assert!(
            cells.len() == 4,
            "this row of README.md must have the cells flag, variable, default and meaning: {row}"
        );
        let setting = Setting {
            variable: cells[1].clone(),
            default: cells[2].clone(),
        };
        (cells[0].clone(), setting)
    })
    .collect()
}

#[test]
fn readme_lists_every_setting_and_no_other() {
    let (program, readme) = (settings_of_the_program(), settings_of_the_readme());
    let names = |settings: &BTreeMap<String, Setting>| -> BTreeSet<String> {
        settings.keys().cloned().collect()
    };
    let missing: Vec<_> = names(&program)
        .difference(&names(&readme))
        .cloned()
        .collect();
    assert!(
        missing.is_empty(),
        "add these to the settings table of README.md: {}",
        missing.join(", ")
    );
    let gone: Vec<_> = names(&readme)
        .difference(&names(&program))
        .cloned()
        .collect();
    assert!(
        gone.is_empty(),
        "guestbook --help knows no such setting; remove them from README.md: {}",
        gone.join(", ")
    );
}

#[test]
fn readme_says_the_variable_and_the_default_of_every_setting() {
    let (program, readme) = (settings_of_the_program(), settings_of_the_readme());
    for (flag, setting) in &program {
        let Some(row) = readme.get(flag) else {
            continue;
        };
        assert_eq!(
            row.variable, setting.variable,
            "correct the variable of {flag} in README.md"
        );
        // A setting without a fixed default says in words what holds then.
        if !setting.default.is_empty() {
            assert_eq!(
                row.default, setting.default,
                "correct the default of {flag} in README.md"
            );
        }
    }
}

#[test]
fn readme_names_every_command_and_its_flags() {
    let readme = read("README.md");
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        assert!(
            readme.contains(&format!("guestbook {name}")),
            "README.md does not say what `guestbook {name}` is for"
        );
        for argument in command.get_arguments() {
            if argument.is_global_set() || argument.get_env().is_some() {
                continue;
            }
            let Some(flag) = argument.get_long().filter(|flag| *flag != "help") else {
                continue;
            };
            assert!(
                readme.contains(&format!("--{flag}")),
                "README.md does not say what `guestbook {name} --{flag}` does"
            );
        }
    }
}

#[test]
fn readme_lists_every_route() {
    let readme = read("README.md");
    let routes: BTreeSet<_> = routes().into_iter().map(|route| route.path).collect();
    for route in routes {
        assert!(
            readme.contains(&format!("{route}`")) || readme.contains(&format!("{route}?")),
            "add {route} to the routes table of README.md"
        );
    }
}

#[test]
fn links_lead_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        for target in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { document } else { path };
            assert!(
                root().join(path).exists(),
                "{document} links to {path}, which does not exist"
            );
            assert!(
                heading.is_empty() || headings(&read(path)).contains(heading),
                "{document} links to a heading {heading} that {path} does not have"
            );
        }
    }
}

/// The targets of `[text](target)` and `src="target"`.
fn links(text: &str) -> Vec<&str> {
    let ends = [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')];
    let mut found = Vec::new();
    for (begin, end) in ends {
        for (at, _) in text.match_indices(begin) {
            let rest = &text[at + begin.len()..];
            found.extend(rest.split_once(end).map(|(target, _)| target));
        }
    }
    found
}

/// The anchors of a document's headings, as the common renderers make them.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    titles.map(anchor).collect()
}

#[test]
fn files_that_are_named_exist() {
    let folders = ["src/", "tests/", "schema/", "benches/", "assets/", ".ci/"];
    for document in DOCUMENTS {
        let text = read(document);
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = folders.iter().any(|folder| quoted.starts_with(folder))
                && !quoted.contains([' ', '*', '{', '\n', '<', '…'])
                && !quoted.contains("NNN");
            assert!(
                !is_path || root().join(quoted).exists(),
                "{document} names {quoted}, which does not exist"
            );
        }
    }
}

/// `**Invariant:** … (held by `name`, `name`)`: every name is a test.
#[test]
fn every_invariant_is_held_by_a_test() {
    let text = read("ARCHITECTURE.md");
    let tests: BTreeSet<String> = ["src", "tests"]
        .into_iter()
        .flat_map(sources)
        .flat_map(|file| names_of_functions(&file.text))
        .collect();
    let blocks = text.split("\n\n").flat_map(|block| block.split("\n- "));
    let invariants: Vec<_> = blocks
        .filter(|block| block.contains("**Invariant:**"))
        .collect();
    assert!(
        invariants.len() >= 5,
        "ARCHITECTURE.md has lost its **Invariant:** lines"
    );
    for invariant in invariants {
        let (_, holders) = invariant.split_once("(held by ").unwrap_or_else(|| {
            panic!("say which test holds this, as (held by `name`):\n{invariant}")
        });
        for name in holders.split('`').skip(1).step_by(2) {
            assert!(
                tests.contains(name),
                "ARCHITECTURE.md says that {name} holds an invariant, and there is no such test"
            );
        }
    }
}

fn names_of_functions(text: &str) -> Vec<String> {
    let starts = text.match_indices("fn ");
    let name = |(at, _): (usize, &str)| -> String {
        let rest = text[at + 3..].chars();
        rest.take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    starts.map(name).collect()
}
