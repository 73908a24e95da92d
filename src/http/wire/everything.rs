//! The JSON of a search over everything.

use super::found::FoundAnswer;
use super::incoming::{present, text};
use guestbook_core::{
    Filters, InvalidField, K, ModelId, Platform, Role, Score, SearchMode, SearchText, Timestamp,
};
use guestbook_service::{IndexStatus, Overview};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// `{"q":…}` and what narrows it; every field is checked on its own.
#[derive(Deserialize)]
pub(crate) struct IncomingSearch<'a> {
    #[serde(borrow)]
    q: Option<&'a RawValue>,
    #[serde(borrow)]
    k: Option<&'a RawValue>,
    #[serde(borrow)]
    mode: Option<&'a RawValue>,
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    platform: Option<&'a RawValue>,
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow)]
    minimum_score: Option<&'a RawValue>,
}

/// What is asked, checked.
pub(crate) struct AskedOfEverything {
    pub(crate) text: SearchText,
    pub(crate) k: K,
    pub(crate) mode: SearchMode,
    pub(crate) filters: Filters,
}

impl IncomingSearch<'_> {
    /// Checks every field.
    pub(crate) fn search(&self) -> Result<AskedOfEverything, InvalidField> {
        let words = SearchText::parse("q", &text("q", self.q)?)?;
        let k = number::<usize>("k", self.k, "must be a whole number, 1 to 100")?;
        let minimum = number(
            "minimum_score",
            self.minimum_score,
            "must be a number, -1 to 1",
        )?;
        let minimum = minimum.map(|value| Score::parse("minimum_score", value));
        let filters = Filters {
            role: optional("role", self.role, Role::parse)?,
            platform: optional("platform", self.platform, platform)?,
            from: optional("from", self.from, |text| time("from", text))?,
            to: optional("to", self.to, |text| time("to", text))?,
            minimum: minimum.transpose()?,
        };
        Ok(AskedOfEverything {
            text: words,
            k: k.map(|count| K::new("k", count))
                .transpose()?
                .unwrap_or_default(),
            mode: optional("mode", self.mode, SearchMode::parse)?.unwrap_or_default(),
            filters,
        })
    }
}

fn optional<T>(
    field: &str,
    raw: Option<&RawValue>,
    parse: impl FnOnce(&str) -> Result<T, InvalidField>,
) -> Result<Option<T>, InvalidField> {
    match present(raw) {
        Some(raw) => parse(&text(field, Some(raw))?).map(Some),
        None => Ok(None),
    }
}

fn number<T: std::str::FromStr>(
    field: &str,
    raw: Option<&RawValue>,
    rule: &str,
) -> Result<Option<T>, InvalidField> {
    let parsed = present(raw).map(|raw| raw.get().parse()).transpose();
    parsed.map_err(|_| InvalidField::new(field, rule))
}

fn platform(text: &str) -> Result<Platform, InvalidField> {
    let rule = "must be one of guest, authenticated";
    Platform::parse(text).ok_or_else(|| InvalidField::new("platform", rule))
}

fn time(field: &str, text: &str) -> Result<Timestamp, InvalidField> {
    Timestamp::parse(text).map_err(|fault| InvalidField::new(field, fault.rule))
}

/// The answer.
#[derive(Serialize)]
pub(crate) struct EverythingAnswer<'a> {
    /// How far the index is: `searched` may be less than `of` while it is `building`.
    index: &'static str,
    #[serde(flatten)]
    found: FoundAnswer<'a>,
}

impl<'a> EverythingAnswer<'a> {
    pub(crate) fn new(model: &'a ModelId, overview: &'a Overview) -> Self {
        Self {
            index: overview.index.as_str(),
            found: FoundAnswer::new(SearchMode::Meaning, Some(model), &overview.findings),
        }
    }
}

/// What readiness says of the index.
#[derive(Serialize)]
pub(crate) struct IndexAnswer {
    state: &'static str,
    searched: u64,
    of: u64,
}

impl From<IndexStatus> for IndexAnswer {
    fn from(status: IndexStatus) -> Self {
        Self {
            state: status.state.as_str(),
            searched: status.searched,
            of: status.of,
        }
    }
}
