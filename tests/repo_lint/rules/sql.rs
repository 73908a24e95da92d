//! Where SQL may stand, and how it comes about.

use crate::rules::source::{Source, read, root, sources};
use std::fs;

/// One file of named constants per dialect, and what it has been split into; the tables themselves are in schema/.
const HOMES: [&str; 2] = ["src/sqlite/sql.rs", "src/postgres/sql.rs"];
const MACROS: [&str; 5] = [
    "format!(",
    "write!(",
    "writeln!(",
    "concat!(",
    "format_args!(",
];

/// Whether a file is one of [`HOMES`] or of the folder beside it.
fn is_home(file: &Source) -> bool {
    let mut homes = HOMES.iter();
    homes.any(|home| file.path == **home || file.is_in(home.trim_end_matches(".rs")))
}

fn is_sql(text: &str) -> bool {
    let text = text.trim_start();
    let begins = [
        "SELECT ",
        "INSERT ",
        "UPDATE ",
        "DELETE FROM",
        "CREATE ",
        "DROP ",
        "ALTER ",
        "PRAGMA ",
        "WITH ",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT",
        "REPLACE INTO",
        "VACUUM",
    ];
    let has = [" FROM ", " WHERE ", " SET ", "INSERT INTO", "ON CONFLICT"];
    begins.iter().any(|word| text.starts_with(word)) || has.iter().any(|word| text.contains(word))
}

#[test]
fn sql_stands_in_one_file_per_dialect() {
    let mut found = Vec::new();
    for file in sources("src") {
        if is_home(&file) {
            continue;
        }
        for (line, text) in &file.literals {
            if is_sql(text) {
                let shown: String = text.chars().take(60).collect();
                found.push(format!("{}: {shown}", file.at(*line)));
            }
        }
    }
    assert!(
        found.is_empty(),
        "SQL belongs as a named constant into {}, where it can be read and reviewed as a whole\n  {}",
        HOMES[0],
        found.join("\n  ")
    );
}

#[test]
fn no_sql_is_put_together_at_run_time() {
    let mut found = Vec::new();
    for file in sources("src") {
        for name in MACROS {
            for (at, _) in file.code.match_indices(name) {
                let line = 1 + file.code[..at].matches('\n').count();
                let arguments = arguments(&file.code[at + name.len() - 1..]);
                if is_home(&file) || arguments.contains("sql::") {
                    found.push(file.at(line));
                }
            }
        }
        if file.is_in("src/sqlite") {
            for word in ["push_str", "replace"] {
                found.extend(file.places_of(word));
            }
        }
    }
    assert!(
        found.is_empty(),
        "write the statement whole, as a constant with parameters (?1): text put together is where injections come from\n  {}",
        found.join("\n  ")
    );
}

/// What stands between a parenthesis and its end.
fn arguments(code: &str) -> &str {
    let mut depth = 0;
    for (index, byte) in code.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &code[..index];
        }
    }
    code
}

#[test]
fn every_statement_is_used() {
    for home in HOMES {
        let folder = sources(home.trim_end_matches("/sql.rs"));
        let (statements, users): (Vec<_>, Vec<_>) = folder.iter().partition(|file| is_home(file));
        let users: String = users.iter().map(|file| file.code.as_str()).collect();
        let lines = statements.iter().flat_map(|file| file.text.lines());
        let names = lines.filter_map(|line| {
            let (_, rest) = line.strip_prefix("pub(")?.split_once(") const ")?;
            Some(rest.split_once(':')?.0.to_owned())
        });
        let unused: Vec<_> = names
            .filter(|name| !users.contains(&format!("sql::{name}")))
            .collect();
        assert!(
            unused.is_empty(),
            "nothing runs these statements of {home}; remove them: {}",
            unused.join(", ")
        );
    }
}

#[test]
fn every_migration_is_applied_in_order() {
    for (folder, applied_by) in [
        ("schema/sqlite", "src/sqlite/open.rs"),
        ("schema/postgres", "src/postgres/schema.rs"),
    ] {
        applied_in_order(folder, applied_by);
    }
}

fn applied_in_order(folder: &str, applied_by: &str) {
    let mut names: Vec<String> = fs::read_dir(root().join(folder))
        .expect(folder)
        .map(|entry| entry.expect("a readable entry").file_name())
        .map(|name| name.into_string().expect("a plain name"))
        .collect();
    names.sort();
    let open = read(applied_by);
    let mut last = 0;
    for (number, name) in (1..).zip(&names) {
        assert!(
            name.starts_with(&format!("{number:03}_")) && name.ends_with(".sql"),
            "{folder}/{name} must be named {number:03}_what.sql: numbers have no gap and are never used twice"
        );
        let place = open.find(&format!("{folder}/{name}\"")).unwrap_or_else(|| {
            panic!("{folder}/{name} is never applied: add it to MIGRATIONS in {applied_by}")
        });
        assert!(
            place > last,
            "MIGRATIONS in {applied_by} must list {name} after the files before it"
        );
        last = place;
    }
}
