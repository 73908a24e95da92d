//! Pages of chats as they were sent lately, ready to be sent again: a front end asks for the same page with every view.
//!
//! Entries are never trusted: each hit is revalidated with the service, which can tell without reading; where it cannot, because
//! others write the same tables, nothing is held.

use super::entity_tag::EntityTag;
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, ETAG, LINK};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use guestbook_service::Freshness;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use std::hash::RandomState;
use std::io;

/// Bytes of pages that are held at most.
const CAPACITY: u64 = 16 << 20;
/// A page that takes more would push out too many others.
const MOST_OF_ONE: u64 = CAPACITY / 16;
/// About how many pages these are.
const PAGES: usize = 1 << 11;
/// What holding a page takes besides its own bytes, about.
const OVERHEAD: usize = 384;

/// What a page is sent with.
#[derive(Clone, Debug)]
pub(super) struct PageHead {
    pub(super) tag: EntityTag,
    /// The value of `Link`, where there is more.
    pub(super) next: Option<HeaderValue>,
}

impl PageHead {
    /// The page with this body, or 304 for who has it already.
    pub(super) fn respond(self, headers: &HeaderMap, body: impl FnOnce() -> Body) -> Response {
        let Self { tag, next } = self;
        let mut response = if tag.is_known_by(headers) {
            // Of no known length: axum would say that it is 0, which is not that of the page.
            let none = Body::from_stream(stream::empty::<io::Result<Bytes>>());
            let mut response = Response::new(none);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let json = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, json)], body()).into_response()
        };
        response.headers_mut().insert(ETAG, tag.0);
        if let Some(next) = next {
            response.headers_mut().insert(LINK, next);
        }
        response
    }
}

/// A page as it is sent.
#[derive(Clone, Debug)]
pub(super) struct CachedResponse {
    pub(super) head: PageHead,
    pub(super) body: Bytes,
    pub(super) freshness: Freshness,
}

/// The pages, by the whole question as it was written: whatever a response depends on is in it.
#[derive(Debug)]
pub(super) struct ResponseCache(Cache<Box<str>, CachedResponse, InBytes, RandomState>);

#[derive(Clone, Debug)]
struct InBytes;

impl Weighter<Box<str>, CachedResponse> for InBytes {
    fn weight(&self, question: &Box<str>, cached: &CachedResponse) -> u64 {
        (question.len() + cached.body.len() + OVERHEAD) as u64
    }
}

impl Default for ResponseCache {
    fn default() -> Self {
        let hasher = RandomState::new();
        let pages = Cache::with(
            PAGES,
            CAPACITY,
            InBytes,
            hasher,
            DefaultLifecycle::default(),
        );
        Self(pages)
    }
}

impl ResponseCache {
    /// The page that was sent for the same question, if it still is the response.
    pub(super) fn find(
        &self,
        uri: &Uri,
        is_fresh: impl FnOnce(&Freshness) -> bool,
    ) -> Option<CachedResponse> {
        let cached = self.0.get(question(uri))?;
        if is_fresh(&cached.freshness) {
            return Some(cached);
        }
        self.0.remove(question(uri)); // one that was held meanwhile would be lost: it is held again
        None
    }

    /// Holds a page that was just read.
    pub(super) fn insert(&self, uri: &Uri, cached: CachedResponse) {
        let question: Box<str> = question(uri).into();
        if InBytes.weight(&question, &cached) <= MOST_OF_ONE {
            self.0.insert(question, cached);
        }
    }
}

/// The path and the query.
pub(super) fn question(uri: &Uri) -> &str {
    uri.path_and_query()
        .map_or("", axum::http::uri::PathAndQuery::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(number: usize) -> Uri {
        format!("http://host/v1/guest/chat/g{number}?limit=2")
            .parse()
            .expect("a URI")
    }

    fn hold(cache: &ResponseCache, number: usize, length: usize) {
        let cached = CachedResponse {
            head: PageHead {
                tag: EntityTag(HeaderValue::from_static("\"x\"")),
                next: None,
            },
            body: Bytes::from(vec![b'x'; length]),
            freshness: Freshness::default(),
        };
        cache.insert(&uri(number), cached);
    }

    fn has(cache: &ResponseCache, number: usize) -> bool {
        cache.find(&uri(number), |_| true).is_some()
    }

    #[test]
    fn a_page_is_held_until_it_is_not_fresh() {
        let cache = ResponseCache::default();
        assert!(!has(&cache, 1));
        hold(&cache, 1, 10);
        assert!(has(&cache, 1) && !has(&cache, 2));
        let other = Uri::from_static("/v1/guest/chat/g1?limit=3");
        assert!(cache.find(&other, |_| true).is_none());
        assert!(cache.find(&uri(1), |_| false).is_none());
        assert!(!has(&cache, 1), "forgotten for good");
        assert_eq!(cache.0.weight(), 0);
    }

    #[test]
    fn no_more_is_held_than_there_is_room_for_and_what_is_used_stays() {
        let (cache, length) = (ResponseCache::default(), 16 << 10);
        for number in 0..4 * (CAPACITY as usize / length) {
            hold(&cache, number, length);
            assert!(has(&cache, 0), "after {number}");
            assert!(cache.0.weight() <= CAPACITY, "after {number}");
        }
        assert!(cache.0.weight() > CAPACITY / 2);
    }

    #[test]
    fn a_page_that_would_push_out_the_others_is_not_held() {
        let cache = ResponseCache::default();
        hold(&cache, 1, MOST_OF_ONE as usize);
        assert!(!has(&cache, 1));
    }
}
