//! Paths among the settings are taken literally as file names, or rejected.
//!
//! SQLite gives `file:…?mode=memory` and `:memory:` a meaning, and a shell expands `~` only at the beginning of a word. Taken
//! literally, such a setting would create unexpected files, or data that is never persisted.

use guestbook_core::error::{Error, ErrorKind, Result};
use std::io;
use std::path::Path;

/// Checks the path after a scheme, taken literally; percent signs are plain characters.
pub fn after_scheme(flag: &str, scheme: &str, text: &str) -> Result<()> {
    let refused = |what: &str, instead: &str| {
        let context = format!("{flag}: {scheme}: {what}; {instead}");
        Err(Error::new(ErrorKind::Invalid, "storage", "open", context))
    };
    let path = format!("write {scheme}:PATH, such as {scheme}:/var/lib/guestbook/data");
    match Meaning::of(text) {
        Meaning::Path if text.contains('?') => refused(
            "takes a path and no parameters, and there is a `?`",
            "leave out what follows it",
        ),
        Meaning::Path => Ok(()),
        Meaning::Nothing => refused("lacks its path", &path),
        Meaning::Memory => refused(
            "takes a path, and :memory: is none",
            "write `memory:` for data that is gone when the process ends",
        ),
        Meaning::Uri => refused("takes a path and no URI", &path),
        Meaning::Home => refused(
            "begins with `~`, which only a shell expands, at the beginning of a word",
            &format!("write {scheme}:$HOME/…, or ./~ for a name that begins so"),
        ),
    }
}

/// Checks that a folder among the settings is a plain folder path.
///
/// # Errors
/// `Invalid`, naming what to write instead.
pub fn require_folder(flag: &str, folder: &Path) -> Result<()> {
    let refused = |what: &str| {
        let shown = folder.display();
        let context = format!("{flag} {shown}: {what}");
        Err(Error::new(ErrorKind::Invalid, "storage", "open", context))
    };
    match Meaning::of(&folder.to_string_lossy()) {
        Meaning::Path => Ok(()),
        Meaning::Nothing => refused("it is empty; name a folder, `.` is this one"),
        Meaning::Memory => refused(
            "it is no folder; for data in memory write --database-url memory: --cache-url memory:",
        ),
        Meaning::Uri => refused("it takes the path of a folder and no URI"),
        Meaning::Home => refused(
            "only a shell expands `~`, at the beginning of a word; write $HOME/…, or ./~ for a name that begins so",
        ),
    }
}

/// The parent folder of a path; an empty parent means the working folder.
pub fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// How some text would be interpreted.
enum Meaning {
    Path,
    Nothing,
    Memory,
    Uri,
    Home,
}

impl Meaning {
    fn of(text: &str) -> Self {
        let begins = |word: &str| {
            let beginning = text.get(..word.len());
            beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(word))
        };
        match text {
            "" => Self::Nothing,
            _ if text.starts_with(":memory:") => Self::Memory,
            _ if ["file:", "sqlite:", "sled:"].into_iter().any(begins) => Self::Uri,
            _ if text.starts_with('~') => Self::Home,
            _ => Self::Path,
        }
    }
}

/// Advice for an operating system error on one of our files or folders.
pub fn advice(cause: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    use rustix::io::Errno;
    match Errno::from_io_error(cause) {
        Some(Errno::MFILE | Errno::NFILE) => {
            return "raise the limit of open files (`ulimit -n 1024`, or LimitNOFILE= of the service)";
        }
        Some(Errno::LOOP) => return "correct the path: a link in it leads in a circle",
        _ => {}
    }
    match cause.kind() {
        Kind::ReadOnlyFilesystem => {
            "its file system is mounted read-only: mount it writable, or choose another folder"
        }
        Kind::StorageFull | Kind::QuotaExceeded => "free some room, or choose another folder",
        Kind::PermissionDenied => {
            "make it readable and writable for the user that this runs as, or choose another folder"
        }
        Kind::NotFound => "make its folder first, or choose another",
        Kind::NotADirectory | Kind::IsADirectory => {
            "correct the path: what it leads through is no folder, or it names one"
        }
        _ => "check its owner, its mode and its disk, or choose another folder",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_as_written_and_what_is_none_is_refused_with_what_to_write() {
        for path in [
            "/var/lib/g.db",
            "g.db",
            "./~g.db",
            "a%3Fb.db",
            "a%20b c#d.db",
            "files:x",
            "ü.db",
        ] {
            after_scheme("--database-url", "sqlite", path).unwrap();
            require_folder("--data-dir", path.as_ref()).unwrap();
        }
        let cases = [
            ("", "lacks its path"),
            (":memory:", "memory:"),
            ("file:x?mode=memory", "no URI"),
            ("FILE:x", "no URI"),
            ("x?nolock=1", "no parameters"),
            ("~/x.db", "$HOME"),
            ("~", "$HOME"),
        ];
        for (path, word) in cases {
            let refused = after_scheme("--database-url", "sqlite", path).unwrap_err();
            assert!(refused.context().contains(word), "{path}: {refused}");
        }
        for folder in ["", ":memory:", "file:abc", "~/x"] {
            require_folder("--data-dir", folder.as_ref()).unwrap_err();
        }
    }
}
