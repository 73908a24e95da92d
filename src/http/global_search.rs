//! Search over all conversations.

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
    let query = incoming.search()?;
    if query.mode == SearchMode::Text {
        let words = Words::of("q", &query.text)?;
        let searching = app.service.search_words(words, query.k, query.filters);
        let (found, permit) = app.read(body.deadline, searching).await?;
        let response = SearchResponse::new(query.mode, None, &found);
        return Ok(app.admit(Json(response), permit, body.deadline).await);
    }
    let (model, vector) = app.embed(body.deadline, &query.text).await?;
    let everything = GlobalQuery {
        model: model.clone(),
        vector,
        k: query.k,
        filters: query.filters,
    };
    let searching = app.service.search_everything(&everything);
    let (found, permit) = app.read(body.deadline, searching).await?;
    let response = GlobalSearchResponse::new(&model, &found);
    Ok(app.admit(Json(response), permit, body.deadline).await)
}
