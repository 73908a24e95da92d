//! What `guestbook search` takes.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use guestbook_core::SearchMode;

/// What to find, and where.
#[derive(Args, Clone, Debug)]
pub struct SearchArgs {
    /// What to look for
    pub text: String,
    /// The guest whose chat to search; without one, and without a user, everything, by the index of the running server
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    pub guest: Option<String>,
    /// The signed-in user whose conversations to search
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// meaning: vectors that are near that of the text; text: messages with all of its words, the newest first
    #[arg(long, default_value = "meaning", value_parser = mode(), value_name = "MODE")]
    pub mode: SearchMode,
    /// Messages at most, 1 to 100
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub k: usize,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

fn mode() -> impl TypedValueParser<Value = SearchMode> {
    PossibleValuesParser::new(SearchMode::ALL.map(SearchMode::as_str))
        .map(|word| SearchMode::parse(&word).unwrap_or_default())
}
