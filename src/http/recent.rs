//! Pages of chats as they were sent lately, ready to be sent again: a front end asks for the same page with every view.
//!
//! Nothing here is ever right by itself. Whether a page still is what would be read is asked of the service each time, which
//! can tell without reading; where it cannot, because others write the same tables, nothing is held.

use crate::service::Standing;
use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of pages that are held at most.
const MOST_BYTES: usize = 16 << 20;
/// A page that takes more would push out too many others.
const MOST_BYTES_OF_ONE: usize = MOST_BYTES / 16;
/// What holding a page takes besides its own bytes, about.
const OVERHEAD: usize = 256;
/// How many questions are remembered of which no page is held: 32 KiB.
const ASKED: usize = 1 << 12;

/// A page as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// The JSON.
    pub(super) body: Bytes,
    /// The value of `Link`, where there is more.
    pub(super) next: Option<HeaderValue>,
}

/// The pages. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Recent(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hasher: RandomState,
    /// Hashes of what was asked for once: a page is held from the second time on, since most are read only once.
    asked: Box<[AtomicU64]>,
    held: Mutex<Held>,
}

/// Two halves: what is used moves into the younger one, and when that is full, the older one is forgotten.
#[derive(Debug, Default)]
struct Held {
    young: HashMap<Box<str>, Page>,
    old: HashMap<Box<str>, Page>,
    /// Of the younger half.
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Page {
    sent: Sent,
    standing: Standing,
}

impl Default for Recent {
    fn default() -> Self {
        Self(Arc::new(Shared {
            hasher: RandomState::new(),
            asked: (0..ASKED).map(|_| AtomicU64::new(0)).collect(),
            held: Mutex::default(),
        }))
    }
}

impl Recent {
    /// The page that was sent for the same question, if it still is the answer.
    pub(super) fn find(&self, asked: &Uri, stands: impl FnOnce(&Standing) -> bool) -> Option<Sent> {
        let asked = question(asked);
        let page = self.held().find(asked)?;
        if stands(&page.standing) {
            return Some(page.sent);
        }
        self.held().forget(asked);
        None
    }

    /// Holds a page that was just read, if it is asked for more than once.
    pub(super) fn hold(&self, asked: &Uri, sent: &Sent, standing: Standing) {
        let asked = question(asked);
        if asked.len() + sent.body.len() + OVERHEAD > MOST_BYTES_OF_ONE || !self.was_asked(asked) {
            return;
        }
        let page = Page {
            sent: sent.clone(),
            standing,
        };
        self.held().put(asked.into(), page);
    }

    /// Whether the same was asked for lately; from now on it was.
    fn was_asked(&self, asked: &str) -> bool {
        let hash = self.0.hasher.hash_one(asked);
        self.0.asked[hash as usize % ASKED].swap(hash, Ordering::Relaxed) == hash
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn find(&mut self, asked: &str) -> Option<Page> {
        if let Some(page) = self.young.get(asked) {
            return Some(page.clone());
        }
        let (asked, page) = self.old.remove_entry(asked)?;
        self.put(asked, page.clone());
        Some(page)
    }

    fn put(&mut self, asked: Box<str>, page: Page) {
        self.forget(&asked);
        self.bytes += bytes(&asked, &page);
        if self.bytes > MOST_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.bytes = bytes(&asked, &page);
        }
        self.young.insert(asked, page);
    }

    fn forget(&mut self, asked: &str) {
        if let Some((asked, page)) = self.young.remove_entry(asked) {
            self.bytes -= bytes(&asked, &page);
        }
        self.old.remove(asked);
    }
}

impl IntoResponse for Sent {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        let mut response = ([(CONTENT_TYPE, json)], self.body).into_response();
        if let Some(next) = self.next {
            response.headers_mut().insert(LINK, next);
        }
        response
    }
}

/// The whole question, as it was written: whatever an answer depends on is in it.
fn question(uri: &Uri) -> &str {
    uri.path_and_query()
        .map_or("", axum::http::uri::PathAndQuery::as_str)
}

fn bytes(asked: &str, page: &Page) -> usize {
    asked.len() + page.sent.body.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(number: usize) -> Uri {
        format!("http://host/v1/guest/chat/g{number}?limit=2")
            .parse()
            .expect("a URI")
    }

    fn sent(length: usize) -> Sent {
        Sent {
            body: Bytes::from(vec![b'x'; length]),
            next: None,
        }
    }

    fn hold(recent: &Recent, number: usize, length: usize) {
        recent.hold(&uri(number), &sent(length), Standing::default());
    }

    fn has(recent: &Recent, number: usize) -> bool {
        recent.find(&uri(number), |_| true).is_some()
    }

    #[test]
    fn a_page_is_held_from_the_second_time_on_and_until_it_does_not_stand() {
        let recent = Recent::default();
        hold(&recent, 1, 10);
        assert!(!has(&recent, 1));
        hold(&recent, 1, 10);
        assert!(has(&recent, 1) && !has(&recent, 2));
        let other = Uri::from_static("/v1/guest/chat/g1?limit=3");
        assert!(recent.find(&other, |_| true).is_none());
        assert!(recent.find(&uri(1), |_| false).is_none());
        assert!(!has(&recent, 1), "forgotten for good");
        assert_eq!(recent.held().bytes, 0);
    }

    #[test]
    fn no_more_is_held_than_there_is_room_for_and_what_is_used_stays() {
        let (recent, length) = (Recent::default(), MOST_BYTES_OF_ONE / 2);
        let most = MOST_BYTES / length;
        for number in 0..4 * most {
            hold(&recent, number, length);
            hold(&recent, number, length);
            assert!(has(&recent, 0), "after {number}");
            let held = recent.held();
            let pages = held.young.iter().chain(&held.old);
            let taken: usize = pages.map(|(asked, page)| bytes(asked, page)).sum();
            assert!(taken <= MOST_BYTES, "{taken} after {number}");
            let young = held.young.iter();
            let taken: usize = young.map(|(asked, page)| bytes(asked, page)).sum();
            assert_eq!(taken, held.bytes);
        }
        assert!(!has(&recent, 1) && has(&recent, 4 * most - 1));
    }

    #[test]
    fn a_page_that_would_push_out_the_others_is_not_held() {
        let recent = Recent::default();
        hold(&recent, 1, MOST_BYTES_OF_ONE);
        hold(&recent, 1, MOST_BYTES_OF_ONE);
        assert!(!has(&recent, 1));
    }
}
