//! Pages of chats: cached, in one piece, streamed in steps if they are long, or 304 if the client has them.
//!
//! **Invariant:** a page that is sent to its end is the one that its `ETag` names. If its messages change while it is sent, the
//! connection is closed before the page ends; appends do not affect pages begun before.

use super::deadline::Deadline;
use super::entity_tag::{EntityTag, Origin};
use super::extract::QueryParameters;
use super::response_cache::{CachedResponse, PageHead, question};
use super::stepwise::{self, Stepwise};
use super::wire::{ConversationResponse, MessageResponse};
use super::{App, Problem};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::IF_NONE_MATCH;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use guestbook_core::InvalidField;
use guestbook_core::error::Result as StoreResult;
use guestbook_service::HistoryPage;
use guestbook_storage::database::{ChatKey, PageRange, PageStart};
use std::ops::Range;
use std::time::Instant;

/// Messages per page at most.
const HISTORY_CAP: usize = 10_000;
/// Above every sequence, and comparable in every database.
const BEYOND_ALL: u64 = i64::MAX as u64;
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
        let all = 0..page.conversation().message_count;
        let head = PageHead {
            tag: tag(app, &parts.uri, &page),
            next: next(&self.path, self.page, page.bounds(), all),
        };
        let response = match page.is_long() {
            false => self.send(app, head, page, parts, deadline).await?,
            true => {
                let (opening, form) = (self.form.opening(&page)?, self.form);
                let steps = PageSteps { page, form };
                let body = app.stepwise(parts.version, opening, steps, deadline);
                body.await?
                    .respond(|body| head.respond(&parts.headers, || body))
            }
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
            stepwise::write(messages.iter().map(MessageResponse::from), false, &mut json)?;
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
}

/// The messages of a long page.
struct PageSteps {
    page: HistoryPage,
    form: Form,
}

impl Stepwise for PageSteps {
    fn is_read(&self) -> bool {
        self.page.is_read()
    }

    fn largest_step(&self) -> usize {
        self.page.largest_step()
    }

    fn all_bytes(&self) -> usize {
        self.page.unread_bytes()
    }

    fn closing(&self) -> &'static [u8] {
        self.form.closing()
    }

    async fn write_next(&mut self, has_some: bool, json: &mut Vec<u8>) -> StoreResult<()> {
        match self.page.next().await.transpose()? {
            Some((messages, _permit)) => {
                stepwise::write(messages.iter().map(MessageResponse::from), has_some, json)
            }
            None => Ok(()),
        }
    }
}

impl Form {
    fn opening(self, page: &HistoryPage) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Messages => Ok(b"[".to_vec()),
            Self::Conversation => {
                let row = ConversationResponse::from(page.conversation());
                let mut json = serde_json::to_vec(&row).map_err(stepwise::unwritable)?;
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

/// `<…>; rel="next"` if there is more in the page's direction; `all` are the sequences that there are, `bounds` the page's first and
/// last.
pub(super) fn next(
    path: &str,
    range: PageRange,
    bounds: Option<(u64, u64)>,
    all: Range<u64>,
) -> Option<HeaderValue> {
    let limit = range.limit;
    let (first, last) = bounds?;
    let next = match range.from {
        PageStart::At(_) if last + 1 < all.end => {
            format!("<{path}?limit={limit}&after={last}>; rel=\"next\"")
        }
        PageStart::Below(_) if first > all.start => {
            format!("<{path}?limit={limit}&before={first}>; rel=\"next\"")
        }
        _ => return None,
    };
    HeaderValue::from_str(&next).ok()
}
