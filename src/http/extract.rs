//! Extracts bodies, paths and queries as checked types; each fault is a problem that names it.

use super::body_budget::Held;
use super::deadline::Deadline;
use super::{App, Problem};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use guestbook_core::{ConversationId, GuestId, IdempotencyKey, InvalidField, OwnerId};
use std::collections::HashMap;
use std::convert::Infallible;
use uuid::Uuid;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A complete request body of JSON text, within the limits of size, time and memory.
pub(super) struct JsonBody {
    held: Held,
    is_ndjson: bool,
    /// The deadline of the request, which starts when the body has arrived.
    pub(super) deadline: Deadline,
}

impl FromRequest<App> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let is_ndjson = is_ndjson(request.headers());
        let reading = app
            .bodies
            .read(request.into_body(), app.settings.body_limit);
        let late = |_| {
            let detail = "the body took too long to arrive";
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
        };
        let read = tokio::time::timeout(app.settings.body_timeout, reading).await;
        let held = read.map_err(late)??;
        Ok(Self {
            held,
            is_ndjson,
            deadline: Deadline::after(app.settings.request_timeout),
        })
    }
}

impl JsonBody {
    /// Whether its type is lines of JSON.
    pub(super) fn is_ndjson(&self) -> bool {
        self.is_ndjson
    }

    /// The body without a byte order mark: a JSON parser may skip it (RFC 8259, 8.1).
    pub(super) fn bytes(&self) -> &[u8] {
        let bytes = &self.held.bytes;
        bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
    }

    /// The text of the body.
    pub(super) fn text(&self) -> Result<&str, Problem> {
        std::str::from_utf8(self.bytes()).map_err(|_| Problem::malformed("the body is not UTF-8"))
    }
}

/// A body without a type is taken as JSON; a body of another type is refused.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "the body must not be compressed: send it without Content-Encoding";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value
        .to_str()
        .unwrap_or("")
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    let is_json = essence == "application/json"
        || essence == "application/x-ndjson"
        || essence.ends_with("+json");
    if is_json {
        return Ok(());
    }
    let detail = "the body must be JSON: send the header `Content-Type: application/json`";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
}

fn is_ndjson(headers: &HeaderMap) -> bool {
    const NDJSON: &str = "application/x-ndjson";
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let begin = value.and_then(|text| text.trim_start().get(..NDJSON.len()));
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(NDJSON))
}

/// The `Idempotency-Key` header, or what is wrong with it. It is read before the body arrives: keeping a header would keep its
/// buffer alive.
pub(super) struct IdempotencyHeader(pub(super) Result<Option<IdempotencyKey>, InvalidField>);

impl FromRequestParts<App> for IdempotencyHeader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self(idempotency_key(&parts.headers)))
    }
}

/// The `Idempotency-Key` of a request; more than one is an error.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, InvalidField> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(InvalidField::new(
            "Idempotency-Key",
            "is given more than once",
        ));
    }
    let text = value.to_str().unwrap_or("");
    IdempotencyKey::parse(text).map(Some)
}

/// The `{guest_id}` of the path.
pub(super) struct GuestPath(pub(super) GuestId);

impl FromRequestParts<App> for GuestPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let text = segment(parts, app, "guest_id").await?;
        Ok(Self(GuestId::parse(&text)?))
    }
}

/// The `{user_id}` of the path.
pub(super) struct UserPath(pub(super) OwnerId);

impl FromRequestParts<App> for UserPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let text = segment(parts, app, "user_id").await?;
        Ok(Self(OwnerId::parse("user_id", &text)?))
    }
}

/// The `{id}` of a conversation in the path.
pub(super) struct ConversationPath(pub(super) ConversationId);

impl FromRequestParts<App> for ConversationPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let text = segment(parts, app, "id").await?;
        Ok(Self(conversation_id("id", &text)?))
    }
}

async fn segment(parts: &mut Parts, app: &App, field: &'static str) -> Result<String, Problem> {
    let path: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, app).await;
    let Path(text) = path.map_err(|_| InvalidField::new(field, "must be percent-encoded UTF-8"))?;
    Ok(text)
}

/// Parses a conversation's id.
pub(super) fn conversation_id(field: &str, text: &str) -> Result<ConversationId, InvalidField> {
    let parsed = Uuid::parse_str(text).map(ConversationId);
    parsed.map_err(|_| InvalidField::new(field, "must be a UUID"))
}

/// The query parameters. Unknown ones are ignored, as the old service did.
pub(super) struct QueryParameters(HashMap<String, String>);

impl FromRequestParts<App> for QueryParameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let query: Result<Query<_>, QueryRejection> = Query::from_request_parts(parts, app).await;
        let Query(map) =
            query.map_err(|_| InvalidField::new("query", "must be percent-encoded UTF-8"))?;
        Ok(Self(map))
    }
}

impl QueryParameters {
    /// A parameter's text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that must be a whole number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, InvalidField> {
        let parsed = self.text(name).map(str::parse::<u64>).transpose();
        parsed.map_err(|_| InvalidField::new(name, "must be a whole number, 0 or more"))
    }

    /// `limit`: at least 1; more than `cap` gives `cap`.
    pub(super) fn limit(&self, cap: usize) -> Result<usize, InvalidField> {
        Ok(self.count("limit", cap)?.unwrap_or(cap))
    }

    /// A count: at least 1; more than `cap` gives `cap`.
    pub(super) fn count(&self, name: &str, cap: usize) -> Result<Option<usize>, InvalidField> {
        match self.number(name)? {
            Some(0) => Err(InvalidField::new(name, "must be at least 1")),
            Some(count) => Ok(Some(usize::try_from(count).unwrap_or(cap).min(cap))),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn lines_are_known_by_their_type_however_it_is_written() {
        let declared = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            is_ndjson(&headers)
        };
        for lines in [
            "application/x-ndjson",
            " Application/X-NDJSON; charset=utf-8",
        ] {
            assert!(declared(lines), "{lines}");
        }
        for other in ["", "application/json", "application/x-ndjso"] {
            assert!(!declared(other), "{other}");
        }
        assert!(!is_ndjson(&HeaderMap::new()));
    }
}
