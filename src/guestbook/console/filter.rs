//! What is logged: a level, and levels of single modules.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

const LEVELS: [(&str, LevelFilter); 6] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
    ("off", LevelFilter::OFF),
];

/// Modules that are crates of their own now, by the names that filters of older versions have. The longest come first.
const MOVED: [(&str, &str); 10] = [
    ("guestbook::storage::sqlite", "guestbook_sqlite"),
    ("guestbook::storage::postgres", "guestbook_postgres"),
    ("guestbook::storage::sled", "guestbook_sled"),
    ("guestbook::storage::redis", "guestbook_redis"),
    ("guestbook::storage", "guestbook_storage"),
    ("guestbook::embed::minilm", "guestbook_minilm"),
    ("guestbook::embed", "guestbook_embed"),
    ("guestbook::service", "guestbook_service"),
    ("guestbook::chat", "guestbook_core"),
    ("guestbook::http", "guestbook_http"),
];

/// Which lines are logged. Errors are, unless `off` was asked for: nobody silences them by naming a module.
#[derive(Clone, Debug)]
pub struct LogFilter(pub(super) Targets);

impl LogFilter {
    /// What is logged unless something else is asked for.
    pub const DEFAULT: &str = "info,sled=warn,refinery_core=warn,tokio_postgres=warn";

    /// Reads `LEVEL` and `TARGET=LEVEL`, separated by commas. An empty text is the default.
    ///
    /// # Errors
    /// What is wrong, and what would be right, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = Some(text.trim()).filter(|text| !text.is_empty());
        let mut targets = Targets::new().with_default(LevelFilter::ERROR);
        for part in text.unwrap_or(Self::DEFAULT).split(',').map(str::trim) {
            targets = match part.split_once('=') {
                _ if part.is_empty() => targets, // a comma too many
                None => targets.with_default(level(part)?),
                Some((target, _)) if !is_target(target) => {
                    return Err(format!("'{target}' is no module; {}", possible()));
                }
                Some((target, word)) => targets.with_target(current(target.trim()), level(word)?),
            };
        }
        Ok(Self(targets))
    }
}

fn level(word: &str) -> Result<LevelFilter, String> {
    let word = word.trim();
    let found = LEVELS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word));
    let unknown = || format!("'{word}' is no level; {}", possible());
    found.map(|(_, level)| *level).ok_or_else(unknown)
}

/// The name of a module as it is today.
fn current(target: &str) -> String {
    let moved = MOVED.iter().find_map(|(old, new)| {
        let rest = target.strip_prefix(old)?;
        (rest.is_empty() || rest.starts_with("::")).then(|| format!("{new}{rest}"))
    });
    moved.unwrap_or_else(|| target.to_owned())
}

/// Whether this can be the name of a module: `guestbook_service::ingest`.
fn is_target(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.');
    let text = text.trim();
    !text.is_empty() && text.chars().all(is_part)
}

fn possible() -> String {
    let names: Vec<_> = LEVELS.iter().map(|(name, _)| *name).collect();
    format!(
        "possible are {}, and the same for a module, such as info,guestbook_service=debug",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    fn shows(filter: &str, target: &str, level: Level) -> bool {
        LogFilter::parse(filter)
            .unwrap()
            .0
            .would_enable(target, &level)
    }

    #[test]
    fn a_level_is_for_everything_and_one_with_a_target_for_that_alone() {
        let (ours, other) = ("guestbook_service::ingest", "sled::pagecache");
        assert!(shows("warn", ours, Level::WARN) && !shows("warn", ours, Level::INFO));
        let both = "info,guestbook_service=debug";
        assert!(shows(both, ours, Level::DEBUG) && !shows(both, other, Level::DEBUG));
        for default in ["", " ", LogFilter::DEFAULT] {
            assert!(shows(default, ours, Level::INFO) && !shows(default, other, Level::INFO));
        }
        assert!(shows("INFO, sled=off,", ours, Level::INFO));
        assert!(!shows("off", ours, Level::ERROR));
    }

    #[test]
    fn naming_a_module_silences_no_errors_of_others() {
        let named = "guestbook_http=debug";
        assert!(shows(named, "guestbook_service", Level::ERROR));
        assert!(!shows(named, "guestbook_service", Level::WARN));
    }

    #[test]
    fn a_filter_of_an_older_version_names_what_it_named_then() {
        for (old, new) in MOVED {
            let filter = format!("warn,{old}::part=debug");
            assert!(shows(&filter, &format!("{new}::part"), Level::DEBUG));
            assert!(!shows(&filter, new, Level::DEBUG));
        }
        assert!(shows(
            "warn,guestbook=debug",
            "guestbook_sled::open",
            Level::DEBUG
        ));
        assert!(!shows(
            "warn,guestbook::served=debug",
            "guestbook_service",
            Level::DEBUG
        ));
    }

    #[test]
    fn what_is_no_level_is_refused_naming_what_is_possible() {
        let wrong = [
            "warning",
            "verbose",
            "3",
            "info,guestbook=loud",
            "guestbook::http",
            "=info",
            "guestbook[span]=info",
            "info;debug",
        ];
        for wrong in wrong {
            let refused = LogFilter::parse(wrong).unwrap_err();
            assert!(refused.contains("error, warn, info"), "{wrong}: {refused}");
        }
    }
}
