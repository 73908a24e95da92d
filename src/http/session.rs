//! A guest's live session list: in one piece, or streamed in steps if it is long.

use super::deadline::Deadline;
use super::extract::{GuestPath, QueryParameters};
use super::history::{next, page};
use super::stepwise::{self, Stepwise};
use super::wire::{SessionItemResponse, SessionResponse};
use super::{App, Problem};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use guestbook_core::GuestId;
use guestbook_core::error::Result as StoreResult;
use guestbook_service::{ReadPermit, SessionPage};

/// Items of a page at most for clients of HTTP/1.0, who get it in one piece: 16 MiB with the largest contents.
const PIECE_CAP: usize = 256;
/// Bytes of the largest content unless the operator allows more.
const LARGEST: usize = 64 << 10;

/// `GET /v1/guest/session/{guest_id}?limit=&before=&after=` or `?last=`
pub(super) async fn session(
    State(app): State<App>,
    version: Version,
    deadline: Deadline,
    GuestPath(guest): GuestPath,
    parameters: QueryParameters,
) -> Result<Response, Problem> {
    let mut range = page(&parameters)?;
    if version < Version::HTTP_11 {
        range.limit = range.limit.min(PIECE_CAP);
    }
    let found = deadline.read(app.service.session(&guest, range)).await?;
    let session = found.ok_or_else(|| no_list(&guest))?;
    let path = format!("/v1/guest/session/{guest}");
    let bounds = &session.bounds;
    let last = bounds.end.checked_sub(1).filter(|_| !bounds.is_empty());
    let bounds = last.map(|last| (bounds.start, last));
    let next = next(&path, range, bounds, session.list.clone());
    let opening = opening(&guest, &session)?;
    match session.is_long() {
        true => {
            let steps = SessionSteps(session);
            let body = app.stepwise(version, opening, steps, deadline).await?;
            Ok(body.respond(|body| with_head(body, next)))
        }
        false => {
            let mut steps = SessionSteps(session);
            let mut json = opening;
            let permit = deadline.read(steps.write(false, &mut json)).await?;
            json.extend_from_slice(steps.closing());
            let response = with_head(Body::from(json), next);
            let admitted = app.responses.admit(response, || deadline).await;
            drop(permit); // held until here: permits bound the responses that wait for memory
            Ok(admitted)
        }
    }
}

fn no_list(guest: &GuestId) -> Problem {
    let detail = format!(
        "guest {guest} has no live list: nothing was said yet, or not within the list's TTL"
    );
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// Everything before the items.
fn opening(guest: &GuestId, session: &SessionPage) -> StoreResult<Vec<u8>> {
    let head = SessionResponse::new(guest, session);
    let mut json = serde_json::to_vec(&head).map_err(stepwise::unwritable)?;
    json.pop(); // the brace
    json.extend_from_slice(br#","messages":["#);
    Ok(json)
}

fn with_head(body: Body, next: Option<HeaderValue>) -> Response {
    let json = HeaderValue::from_static("application/json");
    let mut response = ([(CONTENT_TYPE, json)], body).into_response();
    if let Some(next) = next {
        response.headers_mut().insert(LINK, next);
    }
    response
}

struct SessionSteps(SessionPage);

impl SessionSteps {
    async fn write(
        &mut self,
        has_some: bool,
        json: &mut Vec<u8>,
    ) -> StoreResult<Option<ReadPermit>> {
        let Some((items, permit)) = self.0.next().await.transpose()? else {
            return Ok(None);
        };
        stepwise::write(items.iter().map(SessionItemResponse::from), has_some, json)?;
        Ok(Some(permit))
    }
}

impl Stepwise for SessionSteps {
    fn is_read(&self) -> bool {
        self.0.is_read()
    }

    fn largest_step(&self) -> usize {
        self.0.largest_step()
    }

    fn all_bytes(&self) -> usize {
        (self.0.bounds.end - self.0.bounds.start) as usize * LARGEST
    }

    fn closing(&self) -> &'static [u8] {
        b"]}"
    }

    async fn write_next(&mut self, has_some: bool, json: &mut Vec<u8>) -> StoreResult<()> {
        self.write(has_some, json).await.map(drop)
    }
}
