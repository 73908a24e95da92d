//! How the source is written: sizes, words that must not stay, and how errors are answered.

use crate::rules::source::{Source, sources};

const LINES_OF_A_FUNCTION: usize = 70;

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for file in sources("src") {
        for (line, name, lines) in functions(&file) {
            if lines > LINES_OF_A_FUNCTION {
                long.push(format!("{} fn {name} has {lines} lines", file.at(line)));
            }
        }
    }
    assert!(
        long.is_empty(),
        "give the steps names and functions of their own, at most {LINES_OF_A_FUNCTION} lines each\n  {}",
        long.join("\n  ")
    );
}

/// Line, name and number of lines of every function with a body.
fn functions(file: &Source) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, _) in file.code.match_indices("fn ") {
        let starts_word = file.code[..at].ends_with([' ', '\n', '(']) || at == 0;
        let rest = &file.code[at + 3..];
        let name: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if !starts_word || name.is_empty() {
            continue;
        }
        let line = 1 + file.code[..at].matches('\n').count();
        let body = &rest[..crate::rules::source::item_end(rest)];
        found.push((line, name, 1 + body.matches('\n').count()));
    }
    found
}

#[test]
fn nothing_is_unwrapped() {
    let mut found = Vec::new();
    let ships = |file: &&Source| !file.is_in("src/storage-contract");
    for file in sources("src").iter().filter(ships) {
        for (index, line) in file.code.lines().enumerate() {
            if line.contains(".unwrap()") || line.contains(".unwrap_err()") {
                found.push(file.at(index + 1));
            }
        }
    }
    assert!(
        found.is_empty(),
        "return the error, or say with expect(\"…\") why it cannot happen\n  {}",
        found.join("\n  ")
    );
}

#[test]
fn nothing_is_left_for_later() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("dbg", "!"),
        concat!("todo", "!"),
        concat!("unimplemented", "!"),
    ];
    let mut found = Vec::new();
    for file in ["src", "tests", "benches"].into_iter().flat_map(sources) {
        for (index, line) in file.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(file.at(index + 1));
            }
        }
    }
    assert!(
        found.is_empty(),
        "do it, or write it down where it is tracked\n  {}",
        found.join("\n  ")
    );
}

#[test]
fn every_error_answer_is_a_problem() {
    let mut found = Vec::new();
    for file in sources("src/http") {
        if file.is_in("src/http/problem.rs") {
            continue;
        }
        // An answer made by hand is a tuple that begins with a status. readyz tells its state with one, in its own form.
        let is_ready = file.is_in("src/http/operations.rs");
        let squeezed = squeeze(&file.code);
        for (at, _) in squeezed.match_indices("(StatusCode::") {
            let status = &squeezed[at + "(StatusCode::".len()..];
            let is_problem = squeezed[..at].ends_with("Problem::new");
            let may = status.starts_with("OK,")
                || (is_ready && status.starts_with("SERVICE_UNAVAILABLE,"));
            if !is_problem && !may {
                found.push(format!("{}: (StatusCode::{:.40}", file.path, status));
            }
        }
    }
    assert!(
        found.is_empty(),
        "answer errors with a Problem (src/http/problem.rs): old clients read its `detail`\n  {}",
        found.join("\n  ")
    );
}

#[test]
fn one_place_turns_kinds_of_errors_into_statuses() {
    let decides = |file: &Source| file.code.contains(".kind()");
    let found: Vec<_> = sources("src/http")
        .iter()
        .filter(|file| !file.is_in("src/http/problem.rs") && decides(file))
        .map(|file| file.path.clone())
        .collect();
    assert!(
        found.is_empty(),
        "src/http/problem.rs alone decides the status of an ErrorKind: return the error\n  {}",
        found.join("\n  ")
    );
}

fn squeeze(code: &str) -> String {
    let mut squeezed: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
    squeezed = squeezed.replace("( ", "(");
    squeezed
}
