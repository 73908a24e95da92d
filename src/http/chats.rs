//! A guest's chat: its history and its deletion.

use super::deadline::Deadline;
use super::extract::{GuestPath, QueryParameters};
use super::history::{Form, PageRequest, page};
use super::wire::DeletedResponse;
use super::{App, Problem};
use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use guestbook_storage::database::ChatKey;

/// `GET /v1/guest/chat/{guest_id}?limit=&before=&after=` or `?last=`
pub(super) async fn history(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    if let Some(response) = app.cached(&request) {
        return Ok(response);
    }
    let deadline = Deadline::after(app.settings.request_timeout);
    let (mut parts, _) = request.into_parts();
    let GuestPath(guest) = GuestPath::from_request_parts(&mut parts, &app).await?;
    let page = page(&QueryParameters::from_request_parts(&mut parts, &app).await?)?;
    let path = format!("/v1/guest/chat/{guest}");
    let (chat, form) = (ChatKey::Guest(guest), Form::Messages);
    let page = PageRequest {
        chat,
        page,
        path,
        form,
    };
    let found = page.respond(&app, &parts, deadline).await?;
    Ok(found.unwrap_or_else(|| Json::<[(); 0]>([]).into_response()))
}

/// `DELETE /v1/guest/chat/{guest_id}`
pub(super) async fn delete(
    State(app): State<App>,
    deadline: Deadline,
    GuestPath(guest): GuestPath,
) -> Result<Response, Problem> {
    let deleting = app.service.delete(guest.clone());
    let deleted = deadline.bound(deleting).await;
    let deleted = deleted.ok_or_else(|| Problem::unfinished("deletion"))??;
    Ok(Json(DeletedResponse::new(guest.as_str(), deleted)).into_response())
}
