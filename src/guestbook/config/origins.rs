//! Which settings came from the environment, so that the message about a wrong one names the variable.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

/// The flags that a variable stood for, each with its variable.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<(String, String)>);

impl Origins {
    pub(super) fn of(command: &Command, matches: &ArgMatches) -> Self {
        let read = command.get_arguments().filter(|argument| {
            let source = matches.value_source(argument.get_id().as_str());
            source == Some(ValueSource::EnvVariable)
        });
        let named = read.filter_map(|argument| {
            let variable = argument.get_env()?.to_string_lossy();
            Some((argument.get_long()?.to_owned(), variable.into_owned()))
        });
        Self(named.collect())
    }

    /// Notes that this variable stood for a flag that has another one.
    pub(super) fn note(&mut self, flag: &str, variable: &str) {
        self.0.push((flag.to_owned(), variable.to_owned()));
    }

    /// Whether the environment said it.
    pub fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|(named, _)| named == flag)
    }

    /// A text that names flags, and the variables of those that nobody has written.
    pub fn explain(&self, text: &str) -> String {
        let meant = |(flag, variable): &&(String, String)| {
            names(text, &format!("--{flag}")) && !names(text, variable)
        };
        let meant: Vec<_> = self.0.iter().filter(meant).collect();
        let mut text = text.to_owned();
        for (flag, variable) in meant {
            text.push_str(&format!("; --{flag} is set by the variable {variable}"));
        }
        text
    }
}

/// Whether a word stands in a text by itself: `--embedder` does not stand in `--embedder-model`.
fn names(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.match_indices(word).any(|(at, _)| {
        let after = text[at + word.len()..].chars().next();
        let before = text[..at].chars().next_back();
        !after.is_some_and(is_part) && !before.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_and_was_read_is_explained() {
        let mut origins = Origins::default();
        origins.note("embedder", "GUESTBOOK_EMBEDDER");
        origins.note("listen", "GUESTBOOK_LISTEN");
        let said = origins.explain("choose another --listen, not --embedder-model");
        assert_eq!(
            said,
            "choose another --listen, not --embedder-model; --listen is set by the variable GUESTBOOK_LISTEN"
        );
        for text in [
            "nothing",
            "--listen (GUESTBOOK_LISTEN) is taken",
            "--write-queue",
        ] {
            assert_eq!(origins.explain(text), text);
        }
    }
}
