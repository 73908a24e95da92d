//! Pages of chats: cached, in one piece, streamed in steps if they are long, or 304 if the client has them.
//!
//! **Invariant:** a page that is sent to its end is the one that its `ETag` names. If its messages change while it is sent, the
//! connection is closed before the page ends; appends do not affect pages begun before.

use super::deadline::Deadline;
use super::entity_tag::{EntityTag, Origin};
use super::extract::QueryParameters;
use super::response_cache::{CachedResponse, PageHead, question};
use super::wire::{ConversationResponse, MessageResponse};
use super::{App, Problem};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri, Version};
use axum::response::Response;
use futures_util::Stream;
use futures_util::stream::{empty, try_unfold};
use guestbook_core::error::{Error, ErrorKind, Result as StoreResult};
use guestbook_core::{InvalidField, Message};
use guestbook_service::HistoryPage;
use guestbook_storage::database::{ChatKey, PageRange, PageStart};
use std::io;
use std::time::{Duration, Instant};

/// Messages per page at most.
const HISTORY_CAP: usize = 10_000;
/// Above every sequence, and comparable in every database.
const BEYOND_ALL: u64 = i64::MAX as u64;
/// A step's share of the response budget, as a multiple of its contents: they are held as rows, as JSON, and as JSON of the step
/// before until that is sent.
const STEP_SHARE: usize = 3;
/// The share of a whole page: one step as rows, all as JSON.
const PAGE_SHARE: usize = 2;

/// The JSON form of a page.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// As a list of messages.
    Messages,
    /// As a conversation with a list of messages.
    Conversation,
}

/// The requested page.
#[derive(Debug)]
pub(super) struct PageRequest {
    pub(super) chat: ChatKey,
    pub(super) page: PageRange,
    /// Its path, for the link to the next page.
    pub(super) path: String,
    pub(super) form: Form,
}

impl App {
    /// The cached response to the same request, if it is still fresh.
    pub(super) fn cached(&self, request: &Request) -> Option<Response> {
        let is_fresh = |freshness: &_| self.service.is_fresh(freshness);
        let cached = self.cache.find(request.uri(), is_fresh)?;
        let body = || Body::from(cached.body);
        Some(cached.head.respond(request.headers(), body))
    }
}

impl PageRequest {
    /// The page; `None` if there is no such chat.
    pub(super) async fn respond(
        &self,
        app: &App,
        parts: &Parts,
        deadline: Deadline,
    ) -> Result<Option<Response>, Problem> {
        if let Some(response) = self.unchanged(app, parts, deadline).await? {
            return Ok(Some(response));
        }
        let asking = app.service.history(&self.chat, self.page);
        let Some(page) = deadline.read(asking).await? else {
            return Ok(None);
        };
        let head = PageHead {
            tag: tag(app, &parts.uri, &page),
            next: next(&self.path, self.page, &page),
        };
        let response = match page.is_long() {
            false => self.send(app, head, page, parts, deadline).await?,
            // HTTP/1.0 has no chunks: a body that is cut off would look whole.
            true if parts.version < Version::HTTP_11 => {
                self.collect(app, head, page, parts, deadline).await?
            }
            true => self.stream(app, head, page, parts, deadline).await?,
        };
        Ok(Some(response))
    }

    /// 304 if the client has the page: then no message is read.
    async fn unchanged(
        &self,
        app: &App,
        parts: &Parts,
        deadline: Deadline,
    ) -> Result<Option<Response>, Problem> {
        if !parts.headers.contains_key(IF_NONE_MATCH) {
            return Ok(None);
        }
        let began = Instant::now();
        let found = deadline.read(app.service.conversation(&self.chat)).await?;
        let tag = found.map(|page| tag(app, &parts.uri, &page));
        let Some(tag) = tag.filter(|tag| tag.is_known_by(&parts.headers)) else {
            return Ok(None);
        };
        app.service.count_unchanged(began);
        let head = PageHead { tag, next: None };
        Ok(Some(head.respond(&parts.headers, Body::empty)))
    }

    /// Sends a page in one piece.
    async fn send(
        &self,
        app: &App,
        head: PageHead,
        mut page: HistoryPage,
        parts: &Parts,
        deadline: Deadline,
    ) -> Result<Response, Problem> {
        let mut json = self.form.opening(&page)?;
        let mut permit = None;
        if let Some(step) = page.next().await {
            let (messages, its) = step?;
            write(&messages, false, &mut json)?;
            permit = Some(its);
        }
        json.extend_from_slice(self.form.closing());
        let body = Bytes::from(json);
        if let Some(freshness) = page.freshness() {
            let (head, body) = (head.clone(), body.clone());
            let cached = CachedResponse {
                head,
                body,
                freshness,
            };
            app.cache.insert(&parts.uri, cached);
        }
        let response = head.respond(&parts.headers, || Body::from(body));
        let admitted = app.responses.admit(response, || deadline).await;
        drop(permit); // held until here: permits bound the responses that wait for memory
        Ok(admitted)
    }

    /// Streams a page with one step at a time in memory.
    async fn stream(
        &self,
        app: &App,
        head: PageHead,
        mut page: HistoryPage,
        parts: &Parts,
        deadline: Deadline,
    ) -> Result<Response, Problem> {
        let bytes = STEP_SHARE * page.largest_step();
        let room = app.responses.take(bytes, deadline).await?;
        let mut json = self.form.opening(&page)?;
        write_step(&mut page, false, &mut json, deadline).await?;
        if page.is_read() {
            json.extend_from_slice(self.form.closing());
        }
        json.shrink_to_fit();
        let rest = rest(page, self.form, app.settings.request_timeout);
        let body = || app.responses.stream(room, json.into(), rest);
        Ok(head.respond(&parts.headers, body))
    }

    /// Reads a long page to its end before it is sent.
    async fn collect(
        &self,
        app: &App,
        head: PageHead,
        mut page: HistoryPage,
        parts: &Parts,
        deadline: Deadline,
    ) -> Result<Response, Problem> {
        let bytes = PAGE_SHARE * page.unread_bytes();
        let room = app.responses.take(bytes, deadline).await?;
        let mut json = self.form.opening(&page)?;
        let mut has_some = false;
        while !page.is_read() {
            write_step(&mut page, has_some, &mut json, deadline).await?;
            has_some = true;
        }
        json.extend_from_slice(self.form.closing());
        let length = HeaderValue::from(json.len());
        let body = || app.responses.stream(room, json.into(), empty());
        let mut response = head.respond(&parts.headers, body);
        if response.status() == StatusCode::OK {
            response.headers_mut().insert(CONTENT_LENGTH, length);
        }
        Ok(response)
    }
}

/// Appends the next step of a page.
async fn write_step(
    page: &mut HistoryPage,
    has_some: bool,
    json: &mut Vec<u8>,
    deadline: Deadline,
) -> Result<(), Problem> {
    let reading = async { page.next().await.transpose() };
    if let Some((messages, _permit)) = deadline.read(reading).await? {
        write(&messages, has_some, json)?;
    }
    Ok(())
}

/// The steps of a page after its first.
fn rest(
    page: HistoryPage,
    form: Form,
    patience: Duration,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    try_unfold(Some(page), move |page| async move {
        let Some(mut page) = page.filter(|page| !page.is_read()) else {
            return Ok(None);
        };
        let mut json = Vec::new();
        let reading = async { page.next().await.transpose() };
        // Each step has a deadline of its own: the client may have taken minutes for the steps before.
        match Deadline::after(patience).bound(reading).await {
            None => return Err(io::ErrorKind::TimedOut.into()),
            Some(Err(cause)) => return Err(io::Error::other(cause)),
            Some(Ok(None)) => return Ok(None),
            Some(Ok(Some((messages, _permit)))) => {
                write(&messages, true, &mut json).map_err(io::Error::other)?;
            }
        }
        if page.is_read() {
            json.extend_from_slice(form.closing());
        }
        json.shrink_to_fit();
        Ok(Some((json.into(), Some(page))))
    })
}

impl Form {
    fn opening(self, page: &HistoryPage) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Messages => Ok(b"[".to_vec()),
            Self::Conversation => {
                let row = ConversationResponse::from(page.conversation());
                let mut json = serde_json::to_vec(&row).map_err(unwritable)?;
                json.pop(); // the brace
                json.extend_from_slice(br#","messages":["#);
                Ok(json)
            }
        }
    }

    fn closing(self) -> &'static [u8] {
        match self {
            Self::Messages => b"]",
            Self::Conversation => b"]}",
        }
    }
}

/// Appends messages to an open JSON array.
fn write(messages: &[Message], mut has_some: bool, json: &mut Vec<u8>) -> StoreResult<()> {
    for message in messages {
        if std::mem::replace(&mut has_some, true) {
            json.push(b',');
        }
        serde_json::to_writer(&mut *json, &MessageResponse::from(message)).map_err(unwritable)?;
    }
    Ok(())
}

fn unwritable(cause: serde_json::Error) -> Error {
    let context = "the messages could not be written as JSON";
    Error::caused(ErrorKind::Internal, "http", "history", context, cause)
}

fn tag(app: &App, uri: &Uri, page: &HistoryPage) -> EntityTag {
    let origin = Origin {
        epoch: app.service.parts().database.outbox.epoch(),
        generation: page.generation(),
    };
    EntityTag::of(question(uri), origin, page.conversation())
}

/// Parses `limit`, `before` and `after`, or `last`.
pub(super) fn page(parameters: &QueryParameters) -> Result<PageRange, InvalidField> {
    if let Some(limit) = parameters.count("last", HISTORY_CAP)? {
        let mut others = ["limit", "before", "after"].into_iter();
        if let Some(other) = others.find(|name| parameters.text(name).is_some()) {
            let rule = format!("is given beside `{other}`; it stands alone");
            return Err(InvalidField::new("last", rule));
        }
        let from = PageStart::Below(BEYOND_ALL);
        return Ok(PageRange { limit, from });
    }
    let limit = parameters.limit(HISTORY_CAP)?;
    let from = match (parameters.number("before")?, parameters.number("after")?) {
        (Some(_), Some(_)) => {
            return Err(InvalidField::new(
                "before",
                "is given beside `after`; use one of them",
            ));
        }
        (Some(before), None) => PageStart::Below(before),
        (None, Some(after)) => PageStart::At(after.saturating_add(1)),
        (None, None) => PageStart::At(0),
    };
    Ok(PageRange { limit, from })
}

/// `<…>; rel="next"` if there is more in the page's direction.
fn next(path: &str, range: PageRange, page: &HistoryPage) -> Option<HeaderValue> {
    let limit = range.limit;
    let (first, last) = page.bounds()?;
    let next = match range.from {
        PageStart::At(_) if last + 1 < page.conversation().message_count => {
            format!("<{path}?limit={limit}&after={last}>; rel=\"next\"")
        }
        PageStart::Below(_) if first > 0 => {
            format!("<{path}?limit={limit}&before={first}>; rel=\"next\"")
        }
        _ => return None,
    };
    HeaderValue::from_str(&next).ok()
}
