//! Signing up, and reading what was brought along.

use super::answers::made;
use super::chats::{next, page};
use super::extract::{
    ConversationPath, GuestPath, JsonBody, Parameters, UserPath, conversation_id,
};
use super::wire::{
    ConversationAnswer, IncomingMigration, MessageAnswer, MigratedAnswer, read_object,
};
use super::{App, Problem};
use crate::storage::database::ChatKey;
use axum::Json;
use axum::extract::State;
use axum::http::header::{self, LINK};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// Conversations in one answer at most.
const CONVERSATIONS_CAP: usize = 1000;

/// `POST /v1/guest/migrate/{guest_id}`
pub(super) async fn migrate(
    State(app): State<App>,
    GuestPath(guest): GuestPath,
    body: JsonBody,
) -> Result<Response, Problem> {
    let incoming: IncomingMigration<'_> = read_object(body.text()?)?;
    let user = incoming.user()?;
    let migrating = app.service.migrate(guest.clone(), user.clone());
    let migrated = tokio::time::timeout(app.settings.request_timeout, migrating).await;
    let migrated = migrated.map_err(|_| Problem::unfinished("migration"))??;
    Ok(Json(MigratedAnswer::new(&guest, &user, migrated)).into_response())
}

/// `GET /v1/user/{user_id}/conversations?limit=&before=`
pub(super) async fn conversations(
    State(app): State<App>,
    UserPath(user): UserPath,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let limit = parameters.limit(CONVERSATIONS_CAP)?;
    let before = parameters
        .text("before")
        .map(|text| conversation_id("before", text))
        .transpose()?;
    let found = app
        .in_time(app.service.conversations(&user, before, limit))
        .await?;
    let answers: Vec<_> = found.iter().map(ConversationAnswer::from).collect();
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
    ConversationPath(id): ConversationPath,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let page = page(&parameters)?;
    let Some((history, turn)) = app
        .in_time(app.service.history(&ChatKey::Conversation(id), page))
        .await?
    else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no conversation {id}"),
        ));
    };
    let mut answer = ConversationAnswer::from(&history.conversation);
    answer.messages = Some(history.messages.iter().map(MessageAnswer::from).collect());
    let path = format!("/v1/conversation/{id}");
    let next = next(&path, page, &history).map(|next| [(LINK, next)]);
    Ok(made((next, Json(answer)), turn))
}
