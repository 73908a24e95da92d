//! Search in the messages of a guest or a user, and the context for a model.

use super::deadline::Deadline;
use super::extract::{GuestPath, QueryParameters, UserPath};
use super::wire::{ContextResponse, SearchResponse};
use super::{App, Problem};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use guestbook_core::{ContextBudget, InvalidField, Limit, ModelId, SearchMode, SearchText, Words};
use guestbook_storage::database::{SearchQuery, SearchScope};

/// `GET /v1/guest/chat/{guest_id}/search?q=&k=&mode=meaning|text`
pub(super) async fn guest(
    State(app): State<App>,
    deadline: Deadline,
    GuestPath(guest): GuestPath,
    parameters: QueryParameters,
) -> Result<Response, Problem> {
    search(&app, deadline, SearchScope::Guest(guest), &parameters).await
}

/// `GET /v1/user/{user_id}/search?q=&k=&mode=meaning|text`
pub(super) async fn user(
    State(app): State<App>,
    deadline: Deadline,
    UserPath(user): UserPath,
    parameters: QueryParameters,
) -> Result<Response, Problem> {
    search(&app, deadline, SearchScope::User(user), &parameters).await
}

async fn search(
    app: &App,
    deadline: Deadline,
    scope: SearchScope,
    parameters: &QueryParameters,
) -> Result<Response, Problem> {
    let text = parameters.text("q").ok_or_else(missing)?;
    let text = SearchText::parse("q", text)?;
    let mode = parameters.text("mode").map(SearchMode::parse).transpose()?;
    let mode = mode.unwrap_or_default();
    let k = k(parameters)?;
    let (model, query) = match mode {
        SearchMode::Text => (None, SearchQuery::Text(Words::of("q", &text)?)),
        SearchMode::Meaning => {
            let (model, vector) = app.embed(deadline, &text).await?;
            (Some(model.clone()), SearchQuery::Meaning { model, vector })
        }
    };
    let searching = app.service.search(scope, query, k);
    let (found, permit) = app.read(deadline, searching).await?;
    let response = SearchResponse::new(mode, model.as_ref(), &found);
    Ok(app.admit(Json(response), permit, deadline).await)
}

/// `GET /v1/guest/chat/{guest_id}/context?max_tokens=&q=&recent=`
pub(super) async fn context(
    State(app): State<App>,
    deadline: Deadline,
    GuestPath(guest): GuestPath,
    parameters: QueryParameters,
) -> Result<Response, Problem> {
    let text = parameters.text("q");
    let text = text.map(|q| SearchText::parse("q", q)).transpose()?;
    let max_tokens = parameters.number("max_tokens")?.ok_or_else(|| {
        let rule = "is missing: how many tokens (words between white space) the messages may have together";
        InvalidField::new("max_tokens", rule)
    })?;
    // Without a query the whole budget is for recent messages.
    let recent = parameters.number("recent")?;
    let recent = recent.or(text.is_some().then_some(ContextBudget::RECENT));
    let budget = ContextBudget::new(max_tokens, recent)?;
    let about = match &text {
        Some(text) => Some(app.embed(deadline, text).await?),
        None => None,
    };
    let model = about.as_ref().map(|(model, _)| model.clone());
    let asking = app.service.context_for_model(guest.clone(), budget, about);
    let (found, permit) = app.read(deadline, asking).await?;
    let (found, model) = (
        found.unwrap_or_default(),
        model.as_ref().map(ModelId::as_str),
    );
    let response = ContextResponse::new(&guest, budget, model, &found);
    Ok(app.admit(Json(response), permit, deadline).await)
}

fn k(parameters: &QueryParameters) -> Result<Limit, InvalidField> {
    match parameters.number("k")? {
        Some(count) => Limit::new("k", usize::try_from(count).unwrap_or(usize::MAX)),
        None => Ok(Limit::default()),
    }
}

fn missing() -> InvalidField {
    InvalidField::new("q", "is missing: the words, or the meaning, to look for")
}
