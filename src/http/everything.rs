//! Finding messages over all conversations.

use super::extract::JsonBody;
use super::wire::{EverythingAnswer, IncomingSearch, read_object};
use super::{App, Problem};
use crate::chat::{InvalidField, SearchMode};
use crate::service::Everything;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

/// `POST /v1/search`
pub(super) async fn search(State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let incoming: IncomingSearch<'_> = read_object(body.text()?)?;
    let asked = incoming.search()?;
    if asked.mode == SearchMode::Text {
        let rule = "over all messages only the meaning is looked for; words are found within a guest's chat or a user's \
                    conversations (GET …/search?mode=text)";
        return Err(InvalidField::new("mode", rule).into());
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
