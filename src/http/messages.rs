//! Storing messages: one, a guest's batch, many guests' lines.

use super::deadline::Deadline;
use super::extract::{GuestPath, IdempotencyHeader, JsonBody};
use super::patience::Patience;
use super::wire::{BatchRequest, Elements, Line, MessageRequest, SavedResponse, read, read_object};
use super::{App, Problem};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use guestbook_core::{GuestId, IdempotencyKey, InvalidField, NewMessage};
use guestbook_service::{Fate, GroupOutcome, PendingGroups, SavedMessage};

/// Messages of one guest per request at most.
const GUEST_BATCH: usize = 1000;
/// Messages of many guests per request at most. A body of the default limit cannot have many more messages, but millions of
/// invalid lines, each with a result.
const LINES: usize = 100_000;
/// Lines per group of the service; the next group is queued while this one commits.
const LINES_AT_A_TIME: usize = 512;

/// `POST /v1/guest/chat/{guest_id}`
pub(super) async fn post(
    State(app): State<App>,
    GuestPath(guest): GuestPath,
    IdempotencyHeader(key): IdempotencyHeader,
    body: JsonBody,
) -> Result<Response, Problem> {
    let incoming: MessageRequest<'_> = read_object(body.text()?)?;
    let key = key?;
    let message = incoming.for_guest(&guest, key.clone(), app.settings.content_limit)?;
    // Under the same key a batch would have been another request.
    let of_batch = key.as_ref().map(|key| key.of_part(0).message_id(&guest));
    let message = message.ruling_out(of_batch.map(Into::into));
    let saved = store_one(&app, body.deadline, vec![message], key.is_some(), |_| None).await?;
    let Some(saved) = saved.first() else {
        return Err(Problem::outcome_unknown());
    };
    Ok(Json(app.saved(saved, &guest)).into_response())
}

/// `POST /v1/guest/chat/{guest_id}/batch`: all or nothing.
pub(super) async fn post_guest_batch(
    State(app): State<App>,
    GuestPath(guest): GuestPath,
    IdempotencyHeader(key): IdempotencyHeader,
    body: JsonBody,
) -> Result<Response, Problem> {
    let batch: BatchRequest<'_> = read_object(body.text()?)?;
    let raw = batch
        .messages
        .ok_or_else(|| InvalidField::new("messages", "is required"))?;
    let list: Elements<&str, GUEST_BATCH> = serde_json::from_str(raw.get())
        .map_err(|_| InvalidField::new("messages", "must be an array"))?;
    if list.count == 0 || list.count > GUEST_BATCH {
        let count = list.count;
        let rule = format!("must hold 1 to {GUEST_BATCH} messages, and holds {count}");
        return Err(InvalidField::new("messages", rule).into());
    }
    let key = key?;
    let mut messages = Vec::with_capacity(list.count);
    for (index, text) in list.first.into_iter().enumerate() {
        let place = format!("messages[{index}]");
        let incoming: MessageRequest<'_> =
            read_object(text).map_err(|_| InvalidField::new(&*place, "must be a JSON object"))?;
        let part = key.as_ref().map(|key| key.of_part(index));
        let message = incoming.for_guest(&guest, part, app.settings.content_limit);
        let message = message.map_err(|fault| fault.within(&place))?;
        messages.push(match key {
            Some(_) => message.as_part(),
            None => message,
        });
    }
    if let (Some(key), Some(last)) = (&key, messages.last_mut()) {
        // Under the same key, more messages or one alone would have been another request.
        let others = [key.of_part(list.count), key.clone()];
        last.rules_out = others.map(|key| key.message_id(&guest).into()).into();
    }
    let saved = store_one(&app, body.deadline, messages, key.is_some(), Some).await?;
    let receipts: Vec<_> = saved.iter().map(|saved| app.saved(saved, &guest)).collect();
    Ok(Json(receipts).into_response())
}

/// `POST /v1/messages/batch`: lines of JSON, or an array. Each message is stored or refused on its own, and has its result at the
/// same position in the same format.
pub(super) async fn post_batch(
    State(app): State<App>,
    IdempotencyHeader(key): IdempotencyHeader,
    body: JsonBody,
) -> Result<Response, Problem> {
    let as_lines = body.is_ndjson() || !body.bytes().trim_ascii_start().starts_with(b"[");
    let (lines, count) = many(&body, as_lines)?;
    if count > LINES {
        let detail = format!("the body holds {count} messages; send at most {LINES} at a time");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let key = key?;
    let stored = store_many(&app, body.deadline, &lines, key.as_ref()).await;
    Ok(many_results(&app, &stored, as_lines))
}

/// The texts of a body's messages, at most as many as are stored, and their full number.
fn many(body: &JsonBody, as_lines: bool) -> Result<(Vec<Line<'_>>, usize), Problem> {
    if as_lines {
        let lines = Elements::<_, LINES>::of_lines(body.bytes());
        return Ok((lines.first, lines.count));
    }
    let array: Elements<&str, LINES> = read(body.text()?)?;
    Ok((array.first.into_iter().map(Ok).collect(), array.count))
}

fn one_of_many(
    line: Line<'_>,
    key: Option<IdempotencyKey>,
    content_limit: usize,
) -> Result<NewMessage, Problem> {
    let text = line.map_err(|number| Problem::malformed(format!("line {number} is not UTF-8")))?;
    let incoming: MessageRequest<'_> = read_object(text)?;
    Ok(incoming.for_its_guest(key, content_limit)?)
}

/// Stores one group within the request's deadline; `place` maps an index to the client's position.
async fn store_one(
    app: &App,
    deadline: Deadline,
    group: Vec<NewMessage>,
    is_keyed: bool,
    place: impl FnOnce(usize) -> Option<usize>,
) -> Result<Vec<SavedMessage>, Problem> {
    let queued = deadline.bound(app.service.enqueue(vec![group])).await;
    let mut waiting = queued.ok_or_else(Problem::not_begun)??;
    deadline.bound(waiting.wait()).await; // then the outcomes known so far are sent
    match waiting.fates().pop() {
        Some(Fate::Answered(GroupOutcome::Saved(saved))) => Ok(saved),
        Some(Fate::Answered(GroupOutcome::Conflict { index, id })) => {
            Err(Problem::conflict(&id, is_keyed, place(index)))
        }
        Some(Fate::Answered(GroupOutcome::Failed(cause))) => Err(cause.into()),
        Some(Fate::NotBegun) => Err(Problem::not_begun()),
        Some(Fate::Unknown) | None => Err(Problem::outcome_unknown()),
    }
}

/// The outcome of a line: stored for this guest, or refused.
type Stored = Result<(GuestId, SavedMessage), Problem>;

/// Queued lines: the readable ones wait for one result of the service together.
struct PendingLines {
    lines: Vec<Result<GuestId, Problem>>,
    queued: Result<PendingGroups, Problem>,
}

/// Stores the readable lines, each a group of its own; one result per line, in order. Once nothing progresses, or the server stops,
/// stored lines are reported, and the others are refused.
async fn store_many(
    app: &App,
    deadline: Deadline,
    lines: &[Line<'_>],
    key: Option<&IdempotencyKey>,
) -> Vec<Stored> {
    let mut patience = Patience::new(app, deadline);
    let mut parts = Vec::with_capacity(lines.len().div_ceil(LINES_AT_A_TIME));
    // All groups are queued in order before the first is awaited: so each commit finds the next lines ready. Lines are
    // parsed only when the queue has room for those before them.
    for (at, lines) in lines.chunks(LINES_AT_A_TIME).enumerate() {
        let first = at * LINES_AT_A_TIME;
        parts.push(match patience.refusal() {
            Some(problem) => PendingLines::refused(lines.len(), problem),
            None => PendingLines::queue(app, &mut patience, lines, first, key).await,
        });
    }
    let queued = parts
        .iter_mut()
        .filter_map(|part| part.queued.as_mut().ok());
    patience.wait_for(&mut queued.collect::<Vec<_>>()).await;
    let refusal = patience.refusal().unwrap_or_else(Problem::not_begun);
    let stored = parts
        .into_iter()
        .flat_map(|part| part.stored(key.is_some(), &refusal));
    stored.collect()
}

impl PendingLines {
    async fn queue(
        app: &App,
        patience: &mut Patience<'_>,
        texts: &[Line<'_>],
        first: usize,
        key: Option<&IdempotencyKey>,
    ) -> Self {
        let (mut lines, mut groups) = (Vec::with_capacity(texts.len()), Vec::new());
        for (place, text) in texts.iter().enumerate() {
            let key = key.map(|key| key.of_part(first + place));
            let one = one_of_many(*text, key, app.settings.content_limit);
            lines.push(one.map(|message| {
                let guest = message.guest.clone();
                groups.push(vec![message]);
                guest
            }));
        }
        let queued = patience.queue(groups).await;
        Self { lines, queued }
    }

    /// Lines that were not processed.
    fn refused(lines: usize, problem: Problem) -> Self {
        Self {
            lines: vec![Err(problem.clone()); lines],
            queued: Err(problem),
        }
    }

    fn stored(self, is_keyed: bool, not_begun: &Problem) -> Vec<Stored> {
        let mut fates = self.queued.map(|waiting| waiting.fates().into_iter());
        let stored = |line: Result<GuestId, Problem>| {
            let guest = line?;
            let fate = match &mut fates {
                Ok(fates) => fates.next(),
                Err(problem) => return Err(problem.clone()),
            };
            match fate {
                Some(Fate::Answered(GroupOutcome::Saved(saved))) => saved
                    .into_iter()
                    .next()
                    .map(|saved| (guest, saved))
                    .ok_or_else(Problem::outcome_unknown),
                Some(Fate::Answered(GroupOutcome::Conflict { id, .. })) => {
                    Err(Problem::conflict(&id, is_keyed, None))
                }
                Some(Fate::Answered(GroupOutcome::Failed(cause))) => Err(cause.into()),
                Some(Fate::NotBegun) => Err(not_begun.clone()),
                Some(Fate::Unknown) | None => Err(Problem::outcome_unknown()),
            }
        };
        self.lines.into_iter().map(stored).collect()
    }
}

/// The results in the format of the request: lines for lines, an array for an array.
fn many_results(app: &App, stored: &[Stored], as_lines: bool) -> Response {
    let mut body = Vec::with_capacity(stored.len() * 420);
    for (index, one) in stored.iter().enumerate() {
        if !as_lines {
            body.push(if index == 0 { b'[' } else { b',' });
        }
        let written = match one {
            Ok((guest, saved)) => serde_json::to_writer(&mut body, &app.saved(saved, guest)),
            Err(problem) => serde_json::to_writer(&mut body, problem),
        };
        written.expect("a Vec takes every byte, and neither type has a map with odd keys");
        if as_lines {
            body.push(b'\n');
        }
    }
    if !as_lines {
        body.extend_from_slice(if stored.is_empty() { b"[]" } else { b"]" });
    }
    let kind = if as_lines {
        "application/x-ndjson"
    } else {
        "application/json"
    };
    let mut response = (StatusCode::OK, Body::from(body)).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

impl App {
    fn saved<'a>(&self, saved: &'a SavedMessage, guest: &'a GuestId) -> SavedResponse<'a> {
        let parts = self.service.parts();
        SavedResponse::new(
            saved,
            guest.as_str(),
            parts.lists.name(),
            parts.database.backend.name(),
        )
    }
}
