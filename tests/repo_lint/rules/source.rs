//! Rust files as tidy sees them: code without comments and texts, and the texts by themselves.
//!
//! Not a parser: enough of the lexical grammar to tell code from text, and braces counted.

use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file.
pub(crate) struct Source {
    /// From the top of the repository, e.g. `src/guestbook/open.rs`.
    pub(crate) path: String,
    /// The file as it is.
    pub(crate) text: String,
    /// The code that ships, line for line: comments, texts and `#[cfg(test)]` items are blanked.
    pub(crate) code: String,
    /// The texts of the code that ships, and the line each begins in.
    pub(crate) literals: Vec<(usize, String)>,
}

/// The top of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A file of the repository, by its path from the top.
pub(crate) fn read(path: &str) -> String {
    let read = fs::read_to_string(root().join(path));
    read.unwrap_or_else(|cause| panic!("{path} cannot be read: {cause}"))
}

/// Every `.rs` file below a folder, in order of path.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    files.sort();
    assert!(!files.is_empty(), "there is no Rust file in {folder}");
    let shown = |file: &PathBuf| {
        let relative = file.strip_prefix(root()).expect("below the top");
        relative.to_str().expect("a plain name").to_owned()
    };
    let mut sources: Vec<_> = files.iter().map(|file| Source::new(shown(file))).collect();
    let tests: Vec<_> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        if tests.contains(&source.path) {
            source.hide();
        }
    }
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
}

impl Source {
    fn new(path: String) -> Self {
        let text = read(&path);
        Self::of(path, text)
    }

    pub(crate) fn of(path: String, text: String) -> Self {
        let (code, mut literals) = split(&text);
        let (code, hidden) = without_tests(&code);
        literals.retain(|(line, _)| !hidden.iter().any(|lines| lines.contains(line)));
        Self {
            path,
            text,
            code,
            literals,
        }
    }

    /// The files of modules that are declared as `#[cfg(test)] mod name;`: nothing in them ships.
    fn test_modules(&self) -> Vec<String> {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let declared = self.text.split("#[cfg(test)]\nmod ").skip(1);
        let names =
            declared.filter_map(|rest| rest.split(['\n', ' ', '{']).next()?.strip_suffix(';'));
        names.map(|name| format!("{folder}/{name}.rs")).collect()
    }

    fn hide(&mut self) {
        self.code.clear();
        self.literals.clear();
    }

    /// Whether the file lies in a folder or is one of its files, e.g. `src/core` or `src/core/error.rs`.
    pub(crate) fn is_in(&self, place: &str) -> bool {
        self.path == place || self.path.starts_with(&format!("{place}/"))
    }

    /// `path:line` of every place in the code that ships where `word` stands as a whole word.
    pub(crate) fn places_of(&self, word: &str) -> Vec<String> {
        let lines = self.code.lines().enumerate();
        let found = lines.filter(|(_, line)| has_word(line, word));
        found.map(|(index, _)| self.at(index + 1)).collect()
    }

    /// `path:line`.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn has_word(line: &str, word: &str) -> bool {
    let bytes = line.as_bytes();
    line.match_indices(word).any(|(at, _)| {
        let before = at == 0 || !is_word(bytes[at - 1]);
        let after = bytes
            .get(at + word.len())
            .is_none_or(|byte| !is_word(*byte));
        before && after
    })
}

/// The code with comments and texts blanked, line for line; and the texts.
fn split(text: &str) -> (String, Vec<(usize, String)>) {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut literals = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let previous_is_word = at > 0 && is_word(bytes[at - 1]);
        let length = if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            blank(&rest[..length], &mut code);
            length
        } else if rest.starts_with("/*") {
            let length = comment(rest);
            blank(&rest[..length], &mut code);
            length
        } else if let Some((prefix, length)) = literal(rest).filter(|_| !previous_is_word) {
            let line = 1 + text[..at].matches('\n').count();
            literals.push((
                line,
                rest[prefix..length].trim_matches(['"', '#']).to_owned(),
            ));
            code.push('"');
            blank(&rest[1..length - 1], &mut code);
            code.push('"');
            length
        } else if let Some(length) = character(rest) {
            blank(&rest[..length], &mut code);
            length
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            code.push_str(&rest[..length]);
            length
        };
        at += length;
    }
    (code, literals)
}

fn blank(text: &str, code: &mut String) {
    code.extend(text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
}

/// The length of a block comment; they nest.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The prefix and the length of a text literal that begins here: `"…"`, `b"…"`, `r#"…"#`.
fn literal(rest: &str) -> Option<(usize, usize)> {
    let prefix = rest.len() - rest.trim_start_matches(['b', 'c', 'r']).len();
    let is_raw = rest[..prefix].contains('r');
    let after = &rest[prefix..];
    let hashes = if is_raw {
        after.len() - after.trim_start_matches('#').len()
    } else {
        0
    };
    if prefix > 2 || !after[hashes..].starts_with('"') {
        return None;
    }
    let body = prefix + hashes + 1;
    if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        let length = rest[body..].find(&end)? + body + end.len();
        return Some((prefix, length));
    }
    let mut escaped = false;
    for (index, byte) in rest.bytes().enumerate().skip(body) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((prefix, index + 1)),
            _ => {}
        }
    }
    None
}

/// The length of a character literal that begins here; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    if inner.starts_with('\\') {
        let end = inner.char_indices().skip(2).find(|(_, c)| *c == '\'')?.0;
        return Some(end + 2);
    }
    let first = inner.chars().next()?;
    inner[first.len_utf8()..]
        .starts_with('\'')
        .then_some(first.len_utf8() + 2)
}

/// Blanks every item under `#[cfg(test)]`; also the lines they stood in.
fn without_tests(code: &str) -> (String, Vec<std::ops::RangeInclusive<usize>>) {
    let mut shipped = String::with_capacity(code.len());
    let mut hidden = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(test)]") {
        shipped.push_str(&rest[..start]);
        let end = start + item_end(&rest[start..]);
        let first = 1 + shipped.matches('\n').count();
        blank(&rest[start..end], &mut shipped);
        hidden.push(first..=1 + shipped.matches('\n').count());
        rest = &rest[end..];
    }
    shipped.push_str(rest);
    (shipped, hidden)
}

/// Where the item that begins here ends: at its closing brace, or at the semicolon of one without a body.
pub(crate) fn item_end(code: &str) -> usize {
    let mut depth = 0;
    for (index, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            b';' if depth == 0 => return index + 1,
            _ => {}
        }
    }
    code.len()
}
