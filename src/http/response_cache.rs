//! Response cache of recently sent pages of chats: a front end requests the same page with every view.
//!
//! Entries are never trusted: each hit is revalidated with the service, which needs no read; where that is impossible, because
//! others write the same tables, nothing is cached.

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

/// Capacity in bytes.
const CAPACITY: u64 = 16 << 20;
/// The largest cached page: a larger one would evict too many others.
const MOST_OF_ONE: u64 = CAPACITY / 16;
/// Estimated number of pages.
const PAGES: usize = 1 << 11;
/// Estimated bytes per page besides its own.
const OVERHEAD: usize = 384;

/// The headers of a page.
#[derive(Clone, Debug)]
pub(super) struct PageHead {
    pub(super) tag: EntityTag,
    /// The value of `Link`, if there is more.
    pub(super) next: Option<HeaderValue>,
}

impl PageHead {
    /// The page with this body, or 304 if the client has it.
    pub(super) fn respond(self, headers: &HeaderMap, body: impl FnOnce() -> Body) -> Response {
        let Self { tag, next } = self;
        let mut response = if tag.is_known_by(headers) {
            // Of unknown length: axum would send a length of 0, which is not the page's.
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

/// A page as sent.
#[derive(Clone, Debug)]
pub(super) struct CachedResponse {
    pub(super) head: PageHead,
    pub(super) body: Bytes,
    pub(super) freshness: Freshness,
}

/// The pages by path and query as written, which determine the response.
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
    /// The cached response to the same request, if it is still fresh.
    pub(super) fn find(
        &self,
        uri: &Uri,
        is_fresh: impl FnOnce(&Freshness) -> bool,
    ) -> Option<CachedResponse> {
        let cached = self.0.get(question(uri))?;
        if is_fresh(&cached.freshness) {
            return Some(cached);
        }
        self.0.remove(question(uri)); // may drop a page cached meanwhile, which the next read caches again
        None
    }

    /// Caches a page that was just read.
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
