//! Finding messages over all conversations.

use super::extract::JsonBody;
use super::wire::{EverythingAnswer, FoundAnswer, IncomingSearch, read_object};
use super::{App, Problem};
use crate::chat::{SearchMode, Words};
use crate::service::Everything;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

/// `POST /v1/search`
pub(super) async fn search(State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let incoming: IncomingSearch<'_> = read_object(body.text()?)?;
    let asked = incoming.search()?;
    if asked.mode == SearchMode::Text {
        let words = Words::of("q", &asked.text)?;
        let searching = app.service.search_words(words, asked.k, asked.filters);
        let found = app.in_time(searching).await?;
        return Ok(Json(FoundAnswer::new(asked.mode, None, &found)).into_response());
    }
    let (model, vector) = app.service.meaning(&asked.text).await?;
    let everything = Everything {
        model: model.clone(),
        vector,
        k: asked.k,
        filters: asked.filters,
    };
    let found = app
        .in_time(app.service.search_everything(&everything))
        .await?;
    Ok(Json(EverythingAnswer::new(&model, &found)).into_response())
}
