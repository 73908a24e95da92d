//! Errors as `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`. Old clients read `detail`.

use super::overload;
use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use guestbook_core::error::{Error, ErrorKind, panic_text};
use guestbook_core::{ClientId, InvalidField};
use guestbook_service::QueryEmbeddingError;
use serde::Serialize;
use std::any::Any;
use std::borrow::Cow;
use std::fmt::Display;
use uuid::Uuid;

/// How long a client should wait before it tries again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An error response.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// The problem type: always `about:blank`, which means that the status says it.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: Cow<'static, str>,
    /// The field that breaks a rule, for a 422.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// The message concerned, for a 409.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    message: Option<Box<MessageInQuestion>>,
    /// The id under which the log has the cause, if it is hidden from clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_id: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct MessageInQuestion {
    /// The id that is stored already, if the client sent one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Its position in the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
}

impl Problem {
    /// A problem of this status; `detail` says what happened and what to do next.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            message: None,
            error_id: None,
        }
    }

    /// A problem whose cause is only logged, with an id that is in both.
    fn hiding(
        status: StatusCode,
        detail: impl Into<Cow<'static, str>>,
        cause: &dyn Display,
    ) -> Self {
        let error_id = Uuid::new_v4().simple().to_string();
        tracing::error!(status = status.as_u16(), error_id, error = %cause, "request failed");
        Self {
            error_id: Some(error_id),
            ..Self::new(status, detail)
        }
    }

    /// The request is no JSON document of the expected form.
    pub(super) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Another message is stored under the id, or its key was used for another request; `at` is the message's position in its batch.
    pub(super) fn conflict(id: &ClientId, is_keyed: bool, at: Option<usize>) -> Self {
        let place = at
            .map(|index| format!("messages[{index}]: "))
            .unwrap_or_default();
        let detail = match is_keyed {
            true => format!(
                "{place}the Idempotency-Key was used for another request: for a message with another role, content, timestamp or \
                 metadata in this place, or for more or fewer messages; nothing was stored. Repeat that request as it was, or use \
                 a new Idempotency-Key for a new one"
            ),
            false => format!(
                "{place}the id {id} is stored already in this chat, with another role, content, timestamp or metadata; nothing was \
                 stored. Repeat that message as it was, or use a new id for a new one"
            ),
        };
        let mut problem = Self::new(StatusCode::CONFLICT, detail);
        problem.message = Some(Box::new(MessageInQuestion {
            id: (!is_keyed).then(|| id.to_string()),
            index: at,
        }));
        problem
    }

    /// A write did not end in time.
    pub(super) fn outcome_unknown() -> Self {
        let detail = "the answer took too long, so it is not known whether this was stored; send it again with the same id \
                      or Idempotency-Key to find out without storing it twice";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// A write was taken back before it was begun.
    pub(super) fn not_begun() -> Self {
        let detail = "its turn did not come in time, so nothing of this was stored; send it again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The same, because the server stops.
    pub(super) fn stopping() -> Self {
        let detail = "the server is stopping and had not begun this, so nothing of it was stored; send it again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// A read did not end in time.
    pub(super) fn unanswered() -> Self {
        let detail = "the storage did not answer in time; try again shortly";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// A deletion or migration did not end in time.
    pub(super) fn unfinished(what: &str) -> Self {
        let detail = format!(
            "the {what} took too long to answer; it may still be done. Repeating it is safe"
        );
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The server is overloaded; nothing of this request was done.
    pub(super) fn turned_away(detail: &'static str) -> Self {
        overload::note();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<InvalidField> for Problem {
    fn from(fault: InvalidField) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, fault.to_string());
        problem.field = Some(fault.field);
        problem
    }
}

/// The only conversion of error kinds to statuses. The log has what a 5xx hides.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if error.kind() == ErrorKind::Busy {
            return Self::turned_away(
                "too many requests are waiting; nothing was stored, try again shortly",
            );
        }
        let (status, detail): (_, Cow<'static, str>) = match error.kind() {
            ErrorKind::Invalid => (
                StatusCode::UNPROCESSABLE_ENTITY,
                error.context().to_owned().into(),
            ),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, error.context().to_owned().into()),
            ErrorKind::Conflict => (StatusCode::CONFLICT, error.context().to_owned().into()),
            ErrorKind::Full => (
                StatusCode::INSUFFICIENT_STORAGE,
                "the server's disk is full; nothing was stored, reading still works".into(),
            ),
            ErrorKind::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the storage does not answer; try again shortly, and a message with the same id or Idempotency-Key: should it have been stored, it is not stored twice".into(),
            ),
            // A disk that cannot be read looks like damage, too: that may pass, or be over with a restart.
            ErrorKind::Corrupt => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the storage cannot be read, and the server's log says why; a message with an id or Idempotency-Key may be sent again, it is not stored twice".into(),
            ),
            // No internals, and the one remedy.
            ErrorKind::Inconsistent => (
                StatusCode::INTERNAL_SERVER_ERROR,
                error.context().to_owned().into(),
            ),
            ErrorKind::Unsupported => (
                StatusCode::NOT_IMPLEMENTED,
                "this server cannot do that".into(),
            ),
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "something went wrong on the server; its log says what".into(),
            ),
        };
        match status.is_server_error() {
            true => Self::hiding(status, detail, &error),
            false => Self::new(status, detail),
        }
    }
}

/// Problems of a query's text concern the parameter or field `q`.
impl From<QueryEmbeddingError> for Problem {
    fn from(unseen: QueryEmbeddingError) -> Self {
        match unseen {
            QueryEmbeddingError::NoEmbedder => {
                let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, unseen.to_string());
                problem.field = Some("mode".into());
                problem
            }
            QueryEmbeddingError::Nothing(_) => InvalidField::new("q", unseen.to_string()).into(),
            QueryEmbeddingError::Refused(cause) => {
                tracing::warn!(
                    step = "search",
                    cause,
                    "the model refused the text of a search"
                );
                let rule = "is refused by the model; mode=text looks for the words as they are";
                InvalidField::new("q", rule).into()
            }
            QueryEmbeddingError::Unanswered(cause) => Self::hiding(
                StatusCode::SERVICE_UNAVAILABLE,
                "the model does not answer; try again shortly, or use mode=text, which needs no model",
                &cause,
            ),
        }
    }
}

/// How an unhealthy database affects readiness, and its text. A full disk is only `degraded`: sending readers elsewhere, or a
/// restart, would help nobody, and every new message gets 507.
pub(super) fn without_database(cause: &Error) -> (StatusCode, &'static str, &'static str) {
    match cause.kind() {
        ErrorKind::Full => (
            StatusCode::OK,
            "degraded",
            "the disk is full: messages can be read and none can be stored; free some room, nothing else is needed",
        ),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "messages can be neither stored nor read",
        ),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if matches!(
            status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE
        ) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

pub(super) async fn no_such_route(uri: Uri) -> Problem {
    let detail = format!("there is no route {}; docs/api.md lists them", uri.path());
    Problem::new(StatusCode::NOT_FOUND, detail)
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!(
        "{} cannot be used with {}; the Allow header says which methods can",
        method,
        uri.path()
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// A panic ends one request, not the server.
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let detail = "something went wrong on the server; its log says what";
    let cause = format!("a request handler panicked: {}", panic_text(panic.as_ref()));
    Problem::hiding(StatusCode::INTERNAL_SERVER_ERROR, detail, &cause).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;
    use guestbook_core::ModelId;

    /// What a client must not see: an address, a path, a statement, another server's words.
    const INSIDES: &str =
        "POST http://user:s3cret@10.0.0.7/v1: /var/lib/guestbook.db: SELECT * FROM message_cache";

    fn shown(problem: Problem) -> (u16, String) {
        let status = problem.status;
        (status, serde_json::to_string(&problem).unwrap())
    }

    /// The context of one kind is written for clients, see [`ErrorKind::Inconsistent`].
    #[test]
    fn no_server_error_shows_what_lies_beneath_it() {
        for kind in ErrorKind::ALL {
            let context = match kind {
                ErrorKind::Inconsistent => "run `guestbook verify`",
                _ => INSIDES,
            };
            let error = Error::caused(kind, "sqlite", "record", context, INSIDES);
            let (status, text) = shown(error.into());
            if status < 500 {
                continue;
            }
            for inside in INSIDES.split(' ').chain(["sqlite", "record"]) {
                assert!(!text.contains(inside), "{kind:?}: {text} shows {inside}");
            }
            let has_id = text.contains("\"error_id\":");
            assert_eq!(has_id, kind != ErrorKind::Busy, "{kind:?}: {text}");
        }
    }

    #[test]
    fn no_model_shows_where_it_is_or_what_it_said() {
        let model = ModelId::new("m", 2, &[0; 32]);
        for unseen in [
            QueryEmbeddingError::NoEmbedder,
            QueryEmbeddingError::Nothing(model),
            QueryEmbeddingError::Refused(INSIDES.into()),
            QueryEmbeddingError::Unanswered(INSIDES.into()),
        ] {
            let (_, text) = shown(unseen.into());
            for inside in INSIDES.split(' ').skip(1) {
                assert!(!text.contains(inside), "{text} shows {inside}");
            }
        }
    }

    #[tokio::test]
    async fn a_panic_is_told_to_the_log_alone() {
        let response = panicked(Box::new(INSIDES));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        let text = String::from_utf8(body.unwrap().to_vec()).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains("error_id"), "{text}");
    }
}
