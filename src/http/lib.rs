//! The HTTP front door: bytes become checked types, results become JSON. No backend is named here.

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

mod auth;
mod body_budget;
mod chats;
mod deadline;
mod drain;
mod entity_tag;
mod extract;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod global_search;
mod history;
mod idle;
mod listen;
mod listener;
mod memory_budget;
mod messages;
mod operations;
mod overload;
mod patience;
mod problem;
mod prompts;
mod response_budget;
mod response_cache;
mod routes;
mod search;
mod server;
mod session;
mod stepwise;
mod users;
mod wire;
mod write_timeout;

pub use listen::{Listen, NoPlace, ServerAddress};
pub use listener::Listener;
pub use problem::Problem;
pub use routes::{Route, RouteAccess, routes};
pub use server::HttpServer;
pub use wire::StatsResponse;

use axum::Router;
use axum::response::{IntoResponse, Response};
use deadline::Deadline;
use guestbook_core::api_key::ApiKey;
use guestbook_core::error::Result as StoreResult;
use guestbook_core::{ModelId, SearchText, Vector};
use guestbook_service::{ReadPermit, Service};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// The configuration of the HTTP server; every value is a setting of the binary.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The key that requests must carry, if any.
    pub api_key: Option<ApiKey>,
    /// Bytes of a request body at most.
    pub body_limit: usize,
    /// Bytes of all request bodies being read or worked on at once, at most; at least `body_limit`.
    pub body_memory: usize,
    /// Bytes of all responses above 64 KiB in flight at once, at most.
    pub response_memory: usize,
    /// Bytes of one message's content at most.
    pub content_limit: usize,
    /// Time limit of a request's head, from its first byte on; for the first request, from the beginning.
    pub header_timeout: Duration,
    /// How long a connection kept alive may wait for its next request.
    pub idle_timeout: Duration,
    /// Time limit for a body to arrive, and for a client to take a byte of its response.
    pub body_timeout: Duration,
    /// Time limit of a request. After it the client of a write gets an unknown outcome.
    pub request_timeout: Duration,
    /// How long shutdown waits for requests in flight.
    pub drain_timeout: Duration,
    /// Log lines lost since the start.
    pub log_dropped: fn() -> u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            api_key: None,
            body_limit: 8 << 20,
            body_memory: 64 << 20,
            response_memory: 64 << 20,
            content_limit: 65_536,
            header_timeout: Duration::from_secs(15),
            // nginx, Envoy and the common load balancers keep a connection for 60 s.
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(5),
            // Longer than a request may take, so that each gets a response, and short enough to close the stores afterwards.
            drain_timeout: Duration::from_secs(6),
            log_dropped: || 0,
        }
    }
}

/// The state of every handler. It is cloned several times per request, so it is behind one reference count.
#[derive(Clone, Debug)]
struct App(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    service: Service,
    settings: HttpSettings,
    /// The budget of request bodies.
    bodies: body_budget::BodyBudget,
    /// The budget of responses.
    responses: response_budget::ResponseBudget,
    /// Recently sent pages of chats.
    cache: response_cache::ResponseCache,
    /// One verify of everything at a time: each reads every row.
    verify_limit: Semaphore,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The router: the routes of [`routes()`], behind the key where they are guarded, within the limits.
pub fn router(service: Service, settings: HttpSettings) -> Router {
    App::new(service, settings).router()
}

impl App {
    fn new(service: Service, settings: HttpSettings) -> Self {
        Self(Arc::new(Shared {
            service,
            bodies: body_budget::BodyBudget::new(settings.body_memory, settings.body_limit),
            responses: response_budget::ResponseBudget::new(settings.response_memory),
            settings,
            cache: response_cache::ResponseCache::default(),
            verify_limit: Semaphore::new(1),
        }))
    }

    fn router(self) -> Router {
        let panicked = tower_http::catch_panic::CatchPanicLayer::custom(problem::panicked);
        routes::guarded(&self).layer(panicked).with_state(self)
    }

    /// Runs a read once it has a permit.
    async fn read<R>(
        &self,
        deadline: Deadline,
        asking: impl Future<Output = StoreResult<R>>,
    ) -> Result<(R, ReadPermit), Problem> {
        let asking = async {
            let permit = self.service.read_permit().await;
            Ok((asking.await?, permit))
        };
        deadline.read(asking).await
    }

    /// Sends a response once it has memory: until then the permit bounds how many wait.
    async fn admit(
        &self,
        response: impl IntoResponse,
        _permit: ReadPermit,
        deadline: Deadline,
    ) -> Response {
        let response = response.into_response();
        self.responses.admit(response, || deadline).await
    }

    async fn embed(
        &self,
        deadline: Deadline,
        text: &SearchText,
    ) -> Result<(ModelId, Vector), Problem> {
        let embedded = deadline.bound(self.service.embed_query(text)).await;
        Ok(embedded.ok_or_else(Problem::unanswered)??)
    }
}
