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
                Some((target, word)) => targets.with_target(target.trim(), level(word)?),
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

/// Whether this can be the name of a module: `guestbook::service`.
fn is_target(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.');
    let text = text.trim();
    !text.is_empty() && text.chars().all(is_part)
}

fn possible() -> String {
    let names: Vec<_> = LEVELS.iter().map(|(name, _)| *name).collect();
    format!(
        "possible are {}, and the same for a module, such as info,guestbook::service=debug",
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
        let (ours, other) = ("guestbook::service::ingest", "sled::pagecache");
        assert!(shows("warn", ours, Level::WARN) && !shows("warn", ours, Level::INFO));
        let both = "info,guestbook::service=debug";
        assert!(shows(both, ours, Level::DEBUG) && !shows(both, other, Level::DEBUG));
        for default in ["", " ", LogFilter::DEFAULT] {
            assert!(shows(default, ours, Level::INFO) && !shows(default, other, Level::INFO));
        }
        assert!(shows("INFO, sled=off,", ours, Level::INFO));
        assert!(!shows("off", ours, Level::ERROR));
    }

    #[test]
    fn naming_a_module_silences_no_errors_of_others() {
        let named = "guestbook::http=debug";
        assert!(shows(named, "guestbook::service", Level::ERROR));
        assert!(!shows(named, "guestbook::service", Level::WARN));
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
