//! Signing up, and reading a user's conversations.

use super::deadline::Deadline;
use super::extract::{
    ConversationPath, GuestPath, JsonBody, QueryParameters, UserPath, conversation_id,
};
use super::history::{Form, PageRequest, page};
use super::wire::{ConversationResponse, MigratedResponse, MigrationRequest, read_object};
use super::{App, Problem};
use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use guestbook_storage::database::ChatKey;

/// Conversations per response at most.
const CONVERSATIONS_CAP: usize = 1000;

/// `POST /v1/guest/migrate/{guest_id}`
pub(super) async fn migrate(
    State(app): State<App>,
    GuestPath(guest): GuestPath,
    body: JsonBody,
) -> Result<Response, Problem> {
    let incoming: MigrationRequest<'_> = read_object(body.text()?)?;
    let user = incoming.user()?;
    let migrating = app.service.migrate(guest.clone(), user.clone());
    let migrated = body.deadline.bound(migrating).await;
    let migrated = migrated.ok_or_else(|| Problem::unfinished("migration"))??;
    Ok(Json(MigratedResponse::new(&guest, &user, migrated)).into_response())
}

/// `GET /v1/user/{user_id}/conversations?limit=&before=`
pub(super) async fn conversations(
    State(app): State<App>,
    deadline: Deadline,
    UserPath(user): UserPath,
    parameters: QueryParameters,
) -> Result<Response, Problem> {
    let limit = parameters.limit(CONVERSATIONS_CAP)?;
    let before = parameters
        .text("before")
        .map(|text| conversation_id("before", text))
        .transpose()?;
    let asking = app.service.conversations(&user, before, limit);
    let found = deadline.read(asking).await?;
    let answers: Vec<_> = found.iter().map(ConversationResponse::from).collect();
    let mut response = Json(answers).into_response();
    if let Some(last) = found.last().filter(|_| found.len() == limit) {
        // The user id may hold anything, so the link is relative to this path.
        let link = format!("<?limit={limit}&before={}>; rel=\"next\"", last.id);
        if let Ok(value) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(header::LINK, value);
        }
    }
    Ok(response)
}

/// `GET /v1/conversation/{id}?limit=&before=&after=` or `?last=`
pub(super) async fn conversation(
    State(app): State<App>,
    request: Request,
) -> Result<Response, Problem> {
    if let Some(response) = app.cached(&request) {
        return Ok(response);
    }
    let deadline = Deadline::after(app.settings.request_timeout);
    let (mut parts, _) = request.into_parts();
    let ConversationPath(id) = ConversationPath::from_request_parts(&mut parts, &app).await?;
    let page = page(&QueryParameters::from_request_parts(&mut parts, &app).await?)?;
    let path = format!("/v1/conversation/{id}");
    let (chat, form) = (ChatKey::Conversation(id), Form::Conversation);
    let page = PageRequest {
        chat,
        page,
        path,
        form,
    };
    let found = page.respond(&app, &parts, deadline).await?;
    found.ok_or_else(|| {
        let detail = format!("there is no conversation {id}");
        Problem::new(StatusCode::NOT_FOUND, detail)
    })
}
