//! Errors as `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`. Old clients read `detail`.

use super::overload;
use crate::chat::{InvalidField, MessageId};
use crate::error::{Error, ErrorKind, panic_text};
use crate::service::Unseen;
use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::any::Any;
use std::borrow::Cow;

/// How long a client should wait before it tries again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An error answer.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// What kind of problem: always `about:blank`, which means that the status says it.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: Cow<'static, str>,
    /// The field that breaks a rule, for a 422.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
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
        }
    }

    /// The request is no JSON document of the expected form.
    pub(super) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// A message repeats an id with another content, or follows more of them than there were under its key.
    pub(super) fn conflict(id: MessageId, at: Option<usize>) -> Self {
        let place = at
            .map(|index| format!("messages[{index}]: "))
            .unwrap_or_default();
        let detail = format!(
            "{place}message {id} is stored already with another guest, role or content, or its Idempotency-Key with fewer \
             messages; nothing was stored. Use a new id \
             or Idempotency-Key for a new message"
        );
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// A write did not end in time.
    pub(super) fn outcome_unknown() -> Self {
        let detail = "the answer took too long, so it is not known whether this was stored; send it again with the same id \
                      or Idempotency-Key to find out without storing it twice";
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

    /// There is no room for this request now; nothing of it was done.
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

/// The one place where a kind of error becomes a status. What a 5xx hides is in the log.
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
            // Nothing of our insides, and the one thing that helps.
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
        if status.is_server_error() {
            tracing::error!(status = status.as_u16(), %error, "request failed");
        }
        Self::new(status, detail)
    }
}

/// What is said of the text of a search is said of the parameter or field `q`.
impl From<Unseen> for Problem {
    fn from(unseen: Unseen) -> Self {
        match unseen {
            Unseen::NoEmbedder => {
                let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, unseen.to_string());
                problem.field = Some("mode".into());
                problem
            }
            Unseen::Nothing(_) | Unseen::Refused(_) => {
                InvalidField::new("q", unseen.to_string()).into()
            }
            Unseen::Unanswered(_) => {
                tracing::warn!(step = "search", cause = %unseen, "a search by meaning was not answered");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, unseen.to_string())
            }
        }
    }
}

/// What a database that is not well means for the readiness of the whole, and what is to be said of it. On a full disk it is
/// only `degraded`: to send the readers elsewhere, or to start again, would help nobody, and every new message is told 507.
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

/// A defect of ours ends one request, not the server.
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    tracing::error!(
        panic = panic_text(panic.as_ref()),
        "a request handler panicked"
    );
    let detail = "something went wrong on the server; its log says what";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
}
