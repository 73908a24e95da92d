//! Finding messages over all conversations.

use super::extract::JsonBody;
use super::wire::{GlobalSearchRequest, GlobalSearchResponse, SearchResponse, read_object};
use super::{App, Problem};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use guestbook_core::{SearchMode, Words};
use guestbook_service::GlobalQuery;

/// `POST /v1/search`
pub(super) async fn search(State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let incoming: GlobalSearchRequest<'_> = read_object(body.text()?)?;
    let asked = incoming.search()?;
    if asked.mode == SearchMode::Text {
        let words = Words::of("q", &asked.text)?;
        let searching = app.service.search_words(words, asked.k, asked.filters);
        let (found, permit) = app.read(body.deadline, searching).await?;
        let answer = SearchResponse::new(asked.mode, None, &found);
        return Ok(app.admit(Json(answer), permit, body.deadline).await);
    }
    let (model, vector) = app.embed(body.deadline, &asked.text).await?;
    let everything = GlobalQuery {
        model: model.clone(),
        vector,
        k: asked.k,
        filters: asked.filters,
    };
    let searching = app.service.search_everything(&everything);
    let (found, permit) = app.read(body.deadline, searching).await?;
    let answer = GlobalSearchResponse::new(&model, &found);
    Ok(app.admit(Json(answer), permit, body.deadline).await)
}
