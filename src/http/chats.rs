//! A guest's chat: its history, its live list, its deletion.

use super::answers::made;
use super::extract::{GuestPath, Parameters};
use super::recent::Sent;
use super::wire::{DeletedAnswer, MessageAnswer, SessionAnswer};
use super::{App, Problem};
use crate::chat::InvalidField;
use crate::error::{Error, ErrorKind};
use crate::service::Standing;
use crate::storage::database::{ChatKey, History, Page, PageStart};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// Messages in one answer at most.
pub(super) const HISTORY_CAP: usize = 10_000;
/// No message has such a sequence, and every database can compare it.
const BEYOND_ALL: u64 = i64::MAX as u64;

/// `GET /v1/guest/chat/{guest_id}?limit=&before=&after=` or `?last=`
pub(super) async fn history(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let stands = |standing: &_| app.service.stands(standing);
    if let Some(sent) = app.recent.find(request.uri(), stands) {
        return Ok(sent.into_response());
    }
    let (mut parts, _) = request.into_parts();
    let GuestPath(guest) = GuestPath::from_request_parts(&mut parts, &app).await?;
    let page = page(&Parameters::from_request_parts(&mut parts, &app).await?)?;
    let chat = ChatKey::Guest(guest.clone());
    let Some((history, turn)) = app.in_time(app.service.history(&chat, page)).await? else {
        return Ok(Json::<[(); 0]>([]).into_response());
    };
    let sent = Sent {
        body: messages(&history)?,
        next: next(&format!("/v1/guest/chat/{guest}"), page, &history),
    };
    if let Some(standing) = Standing::of(&history) {
        app.recent.hold(&parts.uri, &sent, standing);
    }
    Ok(made(sent, turn))
}

fn messages(history: &History) -> Result<Bytes, Problem> {
    let messages: Vec<_> = history.messages.iter().map(MessageAnswer::from).collect();
    let written = serde_json::to_vec(&messages).map_err(|cause| {
        let context = "the messages could not be written as JSON";
        Error::caused(ErrorKind::Internal, "http", "history", context, cause)
    });
    Ok(Bytes::from(written?))
}

/// `GET /v1/guest/session/{guest_id}`
pub(super) async fn session(
    State(app): State<App>,
    GuestPath(guest): GuestPath,
) -> Result<Response, Problem> {
    match app.in_time(app.service.session(&guest)).await? {
        Some(session) => {
            let answer = Json(SessionAnswer::new(&guest, &session));
            Ok(made(answer, session.turn.clone()))
        }
        None => {
            let detail = format!(
                "guest {guest} has no live list: nothing was said yet, or not within the list's TTL"
            );
            Err(Problem::new(StatusCode::NOT_FOUND, detail))
        }
    }
}

/// `DELETE /v1/guest/chat/{guest_id}`
pub(super) async fn delete(
    State(app): State<App>,
    GuestPath(guest): GuestPath,
) -> Result<Response, Problem> {
    let deleting = app.service.delete(guest.clone());
    let deleted = tokio::time::timeout(app.settings.request_timeout, deleting).await;
    let deleted = deleted.map_err(|_| Problem::unfinished("deletion"))??;
    Ok(Json(DeletedAnswer::new(guest.as_str(), deleted)).into_response())
}

/// `limit`, `before` and `after`, or `last`, as a page.
pub(super) fn page(parameters: &Parameters) -> Result<Page, InvalidField> {
    if let Some(limit) = parameters.count("last", HISTORY_CAP)? {
        let mut others = ["limit", "before", "after"].into_iter();
        if let Some(other) = others.find(|name| parameters.text(name).is_some()) {
            let rule = format!("is given beside `{other}`; it stands alone");
            return Err(InvalidField::new("last", rule));
        }
        let from = PageStart::Below(BEYOND_ALL);
        return Ok(Page { limit, from });
    }
    let limit = parameters.limit(HISTORY_CAP)?;
    let from = match (parameters.number("before")?, parameters.number("after")?) {
        (Some(_), Some(_)) => {
            return Err(InvalidField::new(
                "before",
                "is given beside `after`; use one of them",
            ));
        }
        (Some(before), None) => PageStart::Below(before),
        (None, Some(after)) => PageStart::At(after.saturating_add(1)),
        (None, None) => PageStart::At(0),
    };
    Ok(Page { limit, from })
}

/// `<…>; rel="next"` where there is more in the direction of the page.
pub(super) fn next(path: &str, page: Page, history: &History) -> Option<HeaderValue> {
    let limit = page.limit;
    let next = match (page.from, history.messages.first(), history.messages.last()) {
        (PageStart::At(_), _, Some(last))
            if last.sequence + 1 < history.conversation.message_count =>
        {
            Some(format!(
                "<{path}?limit={limit}&after={}>; rel=\"next\"",
                last.sequence
            ))
        }
        (PageStart::Below(_), Some(first), _) if first.sequence > 0 => Some(format!(
            "<{path}?limit={limit}&before={}>; rel=\"next\"",
            first.sequence
        )),
        _ => None,
    };
    next.and_then(|link| HeaderValue::from_str(&link).ok())
}
