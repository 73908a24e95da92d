//! Arrays of any length in JSON, read in steps of bounded size: streamed, one step as JSON while the next is read, or in one piece
//! for clients of HTTP/1.0.
//!
//! **Invariant:** a step is read only by who has memory for it, and a body whose steps fail is cut off before its end.

use super::deadline::Deadline;
use super::{App, Problem};
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::Response;
use futures_util::Stream;
use futures_util::stream::{empty, try_unfold};
use guestbook_core::error::{Error, ErrorKind, Result as StoreResult};
use serde::Serialize;
use std::io;
use std::time::Duration;

/// A step's share of the response budget, as a multiple of its contents: they are held as rows, as JSON, and as JSON of the step
/// before until that is sent.
const STEP_SHARE: usize = 3;
/// The share of a body in one piece: one step as rows, all as JSON.
const PIECE_SHARE: usize = 2;

/// The elements of an array.
pub(super) trait Stepwise: Send + 'static {
    /// Whether no step remains.
    fn is_read(&self) -> bool;

    /// Bytes of contents that one step holds at most.
    fn largest_step(&self) -> usize;

    /// Bytes of contents that all steps hold at most.
    fn all_bytes(&self) -> usize;

    /// What stands behind the elements.
    fn closing(&self) -> &'static [u8];

    /// Appends the elements of the next step; after a comma if there are some already.
    fn write_next(
        &mut self,
        has_some: bool,
        json: &mut Vec<u8>,
    ) -> impl Future<Output = StoreResult<()>> + Send;
}

/// A body, and its length if that is known.
pub(super) struct SteppedBody {
    body: Body,
    length: Option<usize>,
}

impl SteppedBody {
    /// The response that is made of the body.
    pub(super) fn respond(self, make: impl FnOnce(Body) -> Response) -> Response {
        let mut response = make(self.body);
        if let Some(length) = self.length
            && response.status() == StatusCode::OK
        {
            let length = HeaderValue::from(length);
            response.headers_mut().insert(CONTENT_LENGTH, length);
        }
        response
    }
}

impl App {
    /// The body that begins with `json`, which the elements follow.
    pub(super) async fn stepwise(
        &self,
        version: Version,
        json: Vec<u8>,
        steps: impl Stepwise,
        deadline: Deadline,
    ) -> Result<SteppedBody, Problem> {
        // HTTP/1.0 has no chunks: a body that is cut off would look whole.
        match version < Version::HTTP_11 {
            true => self.in_one_piece(json, steps, deadline).await,
            false => self.streamed(json, steps, deadline).await,
        }
    }

    async fn streamed(
        &self,
        mut json: Vec<u8>,
        mut steps: impl Stepwise,
        deadline: Deadline,
    ) -> Result<SteppedBody, Problem> {
        let bytes = STEP_SHARE * steps.largest_step();
        let room = self.responses.take(bytes, deadline).await?;
        deadline.read(steps.write_next(false, &mut json)).await?;
        close_if_read(&steps, &mut json);
        let rest = rest(steps, self.settings.request_timeout);
        Ok(SteppedBody {
            body: self.responses.stream(room, json.into(), rest),
            length: None,
        })
    }

    async fn in_one_piece(
        &self,
        mut json: Vec<u8>,
        mut steps: impl Stepwise,
        deadline: Deadline,
    ) -> Result<SteppedBody, Problem> {
        let bytes = PIECE_SHARE * steps.all_bytes();
        let room = self.responses.take(bytes, deadline).await?;
        let mut has_some = false;
        while !steps.is_read() {
            deadline.read(steps.write_next(has_some, &mut json)).await?;
            has_some = true;
        }
        close_if_read(&steps, &mut json);
        let length = Some(json.len());
        let body = self.responses.stream(room, json.into(), empty());
        Ok(SteppedBody { body, length })
    }
}

/// The steps after the first.
fn rest(
    steps: impl Stepwise,
    patience: Duration,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    try_unfold(steps, move |mut steps| async move {
        if steps.is_read() {
            return Ok(None);
        }
        let mut json = Vec::new();
        let reading = steps.write_next(true, &mut json);
        // Each step has a deadline of its own: the client may have taken minutes for the steps before.
        match Deadline::after(patience).bound(reading).await {
            None => return Err(io::ErrorKind::TimedOut.into()),
            Some(Err(cause)) => return Err(io::Error::other(cause)),
            Some(Ok(())) => close_if_read(&steps, &mut json),
        }
        Ok(Some((json.into(), steps)))
    })
}

fn close_if_read(steps: &impl Stepwise, json: &mut Vec<u8>) {
    if steps.is_read() {
        json.extend_from_slice(steps.closing());
    }
    json.shrink_to_fit();
}

/// Appends elements to an open JSON array.
pub(super) fn write<E: Serialize>(
    elements: impl IntoIterator<Item = E>,
    mut has_some: bool,
    json: &mut Vec<u8>,
) -> StoreResult<()> {
    for element in elements {
        if std::mem::replace(&mut has_some, true) {
            json.push(b',');
        }
        serde_json::to_writer(&mut *json, &element).map_err(unwritable)?;
    }
    Ok(())
}

pub(super) fn unwritable(cause: serde_json::Error) -> Error {
    let context = "the messages could not be written as JSON";
    Error::caused(ErrorKind::Internal, "http", "respond", context, cause)
}
