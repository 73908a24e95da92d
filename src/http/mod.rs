//! The HTTP side: bytes become checked types, answers become JSON. No backend is named here.

mod answers;
mod auth;
mod bodies;
mod chats;
mod everything;
mod extract;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod idle;
mod listen;
mod listener;
mod messages;
mod operations;
mod overload;
mod patience;
mod problem;
mod prompts;
mod recent;
mod routes;
mod search;
mod server;
mod stall;
mod unread;
mod users;
mod wire;

pub use listen::{Listen, NoPlace, ServerAddress};
pub use listener::Listener;
pub use problem::Problem;
pub use routes::{Access, Route, routes};
pub use server::Server;
pub use wire::StatsAnswer;

use crate::api_key::ApiKey;
use crate::error::Result as StoreResult;
use crate::service::{Service, Turn};
use axum::Router;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How the HTTP side behaves; every value is a setting of the binary.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The key that requests must carry, if any.
    pub api_key: Option<ApiKey>,
    /// Bytes of a request body at most.
    pub body_limit: usize,
    /// Bytes of all request bodies at most that are being read or worked on at once; at least `body_limit`.
    pub body_memory: usize,
    /// Bytes of all responses above 64 KiB at most that are on their way at once.
    pub response_memory: usize,
    /// Bytes of one message's content at most.
    pub content_limit: usize,
    /// How long the head of a request may take to arrive, from its first byte on; of the first one, from the beginning.
    pub header_timeout: Duration,
    /// How long a connection kept alive may wait for its next request.
    pub idle_timeout: Duration,
    /// How long a body may take to arrive, and how long a client may take no byte of its answer.
    pub body_timeout: Duration,
    /// How long an answer may take. The client of a write is then told that its outcome is not known.
    pub request_timeout: Duration,
    /// How long requests in flight may take to end when the server stops.
    pub drain_timeout: Duration,
    /// How many lines of the log were lost since the start.
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
            // Longer than a request may take, so that each is answered, and short enough to close the stores afterwards.
            drain_timeout: Duration::from_secs(6),
            log_dropped: || 0,
        }
    }
}

/// What every handler has at hand.
#[derive(Clone, Debug)]
struct App {
    service: Service,
    settings: Arc<HttpSettings>,
    /// What request bodies may hold together.
    bodies: bodies::Bodies,
    /// Pages of chats that were sent lately.
    recent: recent::Recent,
    /// One recount of everything at a time: each one reads every row.
    recounting: Arc<Semaphore>,
}

/// What answers every request: the routes of [`routes()`], behind the key where they are guarded, within the limits.
pub fn router(service: Service, settings: HttpSettings) -> Router {
    let app = App {
        service,
        bodies: bodies::Bodies::new(settings.body_memory, settings.body_limit),
        settings: Arc::new(settings),
        recent: recent::Recent::default(),
        recounting: Arc::new(Semaphore::new(1)),
    };
    routes::guarded(&app)
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(
            problem::panicked,
        ))
        .with_state(app)
}

impl App {
    /// As [`Self::in_time`], of what is only asked when there is a turn for its answer.
    async fn in_turn<R>(
        &self,
        asking: impl Future<Output = StoreResult<R>>,
    ) -> Result<(R, Turn), Problem> {
        let asking = async {
            let turn = self.service.turn().await;
            Ok((asking.await?, turn))
        };
        self.in_time(asking).await
    }

    /// What the service says, if it says so within the time a request may take.
    async fn in_time<R>(&self, asking: impl Future<Output = StoreResult<R>>) -> Result<R, Problem> {
        match tokio::time::timeout(self.settings.request_timeout, asking).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Problem::unanswered()),
        }
    }
}
