//! The prompt cache.

use super::deadline::Deadline;
use super::extract::{JsonBody, QueryParameters};
use super::wire::{
    DeletePromptsResponse, LookupRequest, LookupResponse, PutRequest, PutResponse, StatsResponse,
    read_object,
};
use super::{App, Problem};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use guestbook_core::{InvalidField, PromptScope};

/// Stands for every scope.
const EVERY: &str = "*";

/// `POST /v1/cache/lookup`: looks a prompt up. A miss is no error.
pub(super) async fn lookup(State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let incoming: LookupRequest<'_> = read_object(body.text()?)?;
    let lookup = incoming.lookup(app.settings.content_limit)?;
    let found = body.deadline.read(app.service.lookup(&lookup)).await?;
    Ok(Json(LookupResponse::new(found.as_ref())).into_response())
}

/// `PUT /v1/cache`: stores an entry, replacing the one of the same prompt.
pub(super) async fn keep(State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let text = body.text()?;
    let limit = app.settings.content_limit;
    let asked = read_object::<LookupRequest<'_>>(text)?.lookup(limit)?;
    let keep = read_object::<PutRequest<'_>>(text)?.keep(asked, limit)?;
    let kept = body.deadline.read(app.service.keep(keep)).await?;
    Ok(Json(PutResponse::from(&kept)).into_response())
}

/// `DELETE /v1/cache?scope=`: removes the entries of a scope; `*` stands for all of them.
pub(super) async fn forget(
    State(app): State<App>,
    deadline: Deadline,
    parameters: QueryParameters,
) -> Result<Response, Problem> {
    let text = parameters.text("scope").ok_or_else(|| {
        let rule = "is required: guest:ID, tenant:NAME, or * for all of them";
        InvalidField::new("scope", rule)
    })?;
    let scope = match text {
        EVERY => None,
        text => Some(PromptScope::parse(text)?),
    };
    let forgetting = app.service.forget(scope.as_ref());
    let forgotten = deadline.bound(forgetting).await;
    let deleted = forgotten.ok_or_else(|| Problem::unfinished("deletion"))??;
    Ok(Json(DeletePromptsResponse {
        status: "deleted",
        scope: text.to_owned(),
        deleted,
    })
    .into_response())
}

/// `GET /v1/cache`: size and hit counters.
pub(super) async fn stats(
    State(app): State<App>,
    deadline: Deadline,
) -> Result<Json<StatsResponse>, Problem> {
    let stats = deadline.read(app.service.prompt_stats()).await?;
    Ok(Json(stats.into()))
}
