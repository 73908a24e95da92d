//! The JSON of a search over all conversations.

use super::found::SearchResponse;
use super::incoming::{present, text};
use guestbook_core::{
    Filters, InvalidField, Limit, ModelId, Platform, Role, Score, SearchMode, SearchText, Timestamp,
};
use guestbook_service::{GlobalResults, IndexStatus};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// `{"q":…}` and its filters; every field is checked on its own.
#[derive(Deserialize)]
pub(crate) struct GlobalSearchRequest<'a> {
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

/// The checked query.
pub(crate) struct GlobalSearchQuery {
    pub(crate) text: SearchText,
    pub(crate) k: Limit,
    pub(crate) mode: SearchMode,
    pub(crate) filters: Filters,
}

impl GlobalSearchRequest<'_> {
    /// Checks every field.
    pub(crate) fn search(&self) -> Result<GlobalSearchQuery, InvalidField> {
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
        Ok(GlobalSearchQuery {
            text: words,
            k: k.map(|count| Limit::new("k", count))
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

/// The response.
#[derive(Serialize)]
pub(crate) struct GlobalSearchResponse<'a> {
    /// The state of the index: `searched` may be less than `of` while it is `building`.
    index: &'static str,
    #[serde(flatten)]
    found: SearchResponse<'a>,
}

impl<'a> GlobalSearchResponse<'a> {
    pub(crate) fn new(model: &'a ModelId, overview: &'a GlobalResults) -> Self {
        Self {
            index: overview.index.as_str(),
            found: SearchResponse::new(SearchMode::Meaning, Some(model), &overview.findings),
        }
    }
}

/// The index in the readiness response.
#[derive(Serialize)]
pub(crate) struct IndexResponse {
    state: &'static str,
    searched: u64,
    of: u64,
}

impl From<IndexStatus> for IndexResponse {
    fn from(status: IndexStatus) -> Self {
        Self {
            state: status.state.as_str(),
            searched: status.searched,
            of: status.of,
        }
    }
}
