//! The documents: every `.md` file at the top, in docs/ (an mdBook) and beside what it describes. Links lead somewhere, files that are
//! named exist, and so does each test that is said to hold a promise.

use crate::rules::source::{read, root, sources};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where documents are, besides the top.
const FOLDERS: [&str; 4] = ["docs", "assets", "tests", "benches"];
/// Lines of README.md at most: it is one screen that says what this is, and links to the rest.
const LINES_OF_THE_README: usize = 150;

/// The path of every document from the top, in order.
pub(crate) fn documents() -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root()).expect("the top of the repository") {
        let path = entry.expect("a readable entry").path();
        if path.extension().is_some_and(|kind| kind == "md") {
            found.push(path);
        }
    }
    for folder in FOLDERS {
        collect(&root().join(folder), &mut found);
    }
    let from_the_top = |path: PathBuf| {
        let relative = path.strip_prefix(root()).expect("below the top");
        relative.to_str().expect("a plain name").to_owned()
    };
    let mut found: Vec<_> = found.into_iter().map(from_the_top).collect();
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "md") {
            found.push(path);
        }
    }
}

#[test]
fn the_readme_is_one_screen() {
    let lines = read("README.md").lines().count();
    assert!(
        lines <= LINES_OF_THE_README,
        "README.md has {lines} lines: move what is not for everyone to a page of docs, and link to it"
    );
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = without_code(&read(&document));
        for target in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            wrong.extend(fault_of(&document, target));
        }
    }
    assert!(wrong.is_empty(), "correct these\n  {}", wrong.join("\n  "));
}

/// What is wrong with a link, if anything.
fn fault_of(document: &str, target: &str) -> Option<String> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = match path {
        "" => document.to_owned(),
        path => beside(document, path),
    };
    if !root().join(&path).exists() {
        return Some(format!("{document} links to {path}, which does not exist"));
    }
    if document.starts_with("docs/") && !path.starts_with("docs/") {
        return Some(format!(
            "{document} links to {path}, which is not in the book: name it in backticks"
        ));
    }
    if !heading.is_empty() && !headings(&read(&path)).contains(heading) {
        return Some(format!(
            "{document} links to a heading {heading} that {path} does not have"
        ));
    }
    None
}

/// A path beside a document, from the top: `../images/a.svg` in docs/deployment/b.md is docs/images/a.svg.
fn beside(document: &str, path: &str) -> String {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts = Vec::new();
    for part in Path::new(folder).join(path).components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::CurDir => {}
            part => parts.push(part.as_os_str().to_string_lossy().into_owned()),
        }
    }
    parts.join("/")
}

/// The text without its fenced code: an example may look like a link or a heading.
fn without_code(text: &str) -> String {
    let parts = text.split("\n```").enumerate();
    let prose: Vec<_> = parts
        .filter(|(index, _)| index % 2 == 0)
        .map(|(_, part)| part)
        .collect();
    prose.join("\n")
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
    let text = without_code(text);
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
fn every_page_is_in_the_summary() {
    let summary = read("docs/SUMMARY.md");
    let listed: BTreeSet<_> = links(&summary)
        .into_iter()
        .map(|page| format!("docs/{page}"))
        .collect();
    let missing: Vec<_> = documents()
        .into_iter()
        .filter(|page| page.starts_with("docs/") && page != "docs/SUMMARY.md")
        .filter(|page| !listed.contains(page))
        .collect();
    assert!(
        missing.is_empty(),
        "add these to docs/SUMMARY.md, or nobody finds them: {}",
        missing.join(", ")
    );
}

#[test]
fn files_that_are_named_exist() {
    let folders = [
        "src/", "kernel/", "tests/", "schema/", "benches/", "assets/", "fuzz/", "docs/", ".ci/",
    ];
    let mut missing = Vec::new();
    for document in documents() {
        let text = read(&document);
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = folders.iter().any(|folder| quoted.starts_with(folder))
                && !quoted.contains([' ', '*', '{', '\n', '<', '…'])
                && !quoted.contains("NNN");
            if is_path && !root().join(quoted).exists() {
                missing.push(format!("{document} names {quoted}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "these do not exist\n  {}",
        missing.join("\n  ")
    );
}

/// `**Invariant:** … (held by `name`, `name`)`: every name is a test.
#[test]
fn every_invariant_is_held_by_a_test() {
    const PAGE: &str = "docs/internals/invariants.md";
    let text = read(PAGE);
    let tests = names_of_tests();
    let blocks = text.split("\n\n").flat_map(|block| block.split("\n- "));
    let invariants: Vec<_> = blocks
        .filter(|block| block.contains("**Invariant:**"))
        .collect();
    assert!(
        invariants.len() >= 25,
        "{PAGE} has lost its **Invariant:** lines"
    );
    for invariant in invariants {
        let (_, holders) = invariant.split_once("(held by ").unwrap_or_else(|| {
            panic!("say which test holds this, as (held by `name`):\n{invariant}")
        });
        for name in holders.split('`').skip(1).step_by(2) {
            assert!(
                tests.contains(name),
                "{PAGE} says that {name} holds an invariant, and there is no such test"
            );
        }
    }
}

/// What stands in a column `held by` is a test, or a file or folder of tests.
#[test]
fn every_promise_is_held_by_a_test() {
    let tests = names_of_tests();
    let (mut held, mut wrong) = (0, Vec::new());
    for page in ["docs/guarantees.md", "docs/failures.md"] {
        let text = read(page);
        let tables = text.split("\n\n").filter(|block| {
            let header = block.lines().next().unwrap_or_default();
            header.ends_with("| held by |")
        });
        for row in tables.flat_map(|table| table.lines().skip(2)) {
            let cell = row.trim_end_matches(" |").rsplit(" | ").next();
            for name in cell.unwrap_or_default().split('`').skip(1).step_by(2) {
                held += 1;
                let place = root().join("tests").join(name);
                if !tests.contains(name) && !place.exists() && !place.with_extension("rs").exists()
                {
                    wrong.push(format!("{page}: {name}"));
                }
            }
        }
    }
    assert!(held >= 20, "only {held} tests stand in columns `held by`");
    assert!(
        wrong.is_empty(),
        "there are no such tests\n  {}",
        wrong.join("\n  ")
    );
}

fn names_of_tests() -> BTreeSet<String> {
    ["src", "tests"]
        .into_iter()
        .flat_map(sources)
        .flat_map(|file| names_of_functions(&file.text))
        .collect()
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
