//! A server on its listeners, and the life of a connection.

use super::deadline::Deadline;
use super::drain::{Drain, UnreadBody};
use super::idle::Patience;
use super::listen::ServerAddress;
use super::listener::{Listener, Socket, SocketFile};
use super::write_timeout::WriteTimeoutAcceptor;
use super::{App, HttpSettings, Problem};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum_server::{Address, Handle};
use guestbook_service::{Essential, Service};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};

/// Bytes of a request's head, and of a body read ahead, at most: what an unknown client can take of our memory. Our heads have a
/// few hundred bytes; a proxy adds some thousand at most.
const HEAD_LIMIT: usize = 16 << 10;

/// A running HTTP server.
#[derive(Debug)]
pub struct HttpServer {
    addresses: Vec<ServerAddress>,
    doors: Vec<Door>,
    files: Vec<SocketFile>,
    service: Service,
    drain: Duration,
}

/// A listener being served.
#[derive(Debug)]
struct Door {
    handle: AnyHandle,
    running: JoinHandle<io::Result<()>>,
    /// Set when it is asked to stop; an earlier end is a failure of the service.
    is_ending: Arc<AtomicBool>,
}

#[derive(Debug)]
enum AnyHandle {
    Tcp(Handle<std::net::SocketAddr>),
    Unix(Handle<std::os::unix::net::SocketAddr>),
}

impl HttpServer {
    /// Serves on the current runtime until [`Self::stop`].
    ///
    /// # Errors
    /// The system's error about a listener.
    pub fn start(
        listeners: impl IntoIterator<Item = Listener>,
        service: Service,
        settings: HttpSettings,
    ) -> io::Result<Self> {
        let accept = WriteTimeoutAcceptor {
            stalled: settings.body_timeout,
            patience: Patience {
                head: settings.header_timeout,
                idle: settings.idle_timeout,
            },
        };
        let mut server = Self {
            addresses: Vec::new(),
            doors: Vec::new(),
            files: Vec::new(),
            service: service.clone(),
            drain: settings.drain_timeout,
        };
        let app = App::new(service.clone(), settings);
        let passing = (app.clone(), Drain::default());
        let app = app.router().layer(from_fn_with_state(passing, one_request));
        for listener in listeners {
            server.addresses.push(listener.address().clone());
            server.files.extend(listener.file);
            server.doors.push(Door::open(
                listener.socket,
                accept,
                app.clone(),
                service.essential("HTTP"),
            )?);
        }
        Ok(server)
    }

    /// The listen addresses; the real port if 0 was requested.
    pub fn addresses(&self) -> &[ServerAddress] {
        &self.addresses
    }

    /// Accepts no new connection, waits for requests in flight within the drain time, then closes the rest.
    pub async fn stop(self) {
        self.service.drain();
        drop(self.files);
        for door in &self.doors {
            door.is_ending.store(true, Ordering::Release);
            match &door.handle {
                AnyHandle::Tcp(handle) => handle.graceful_shutdown(Some(self.drain)),
                AnyHandle::Unix(handle) => handle.graceful_shutdown(Some(self.drain)),
            }
        }
        for door in self.doors {
            say_how_it_ended(door.running.await);
        }
    }
}

fn say_how_it_ended(ended: Result<io::Result<()>, JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => tracing::error!(%cause, "the HTTP server ended badly"),
        Err(cause) => tracing::error!(%cause, "the HTTP server ended badly"),
    }
}

impl Door {
    fn open(
        socket: Socket,
        accept: WriteTimeoutAcceptor,
        app: Router,
        essential: Essential,
    ) -> io::Result<Self> {
        let is_ending = essential.expectation();
        let app = app.into_make_service();
        let (running, handle) = match socket {
            Socket::Tcp(listener) => {
                let (server, handle) = prepared(axum_server::from_tcp(listener)?, accept);
                (spawn(server.serve(app), essential), AnyHandle::Tcp(handle))
            }
            Socket::Unix(listener) => {
                let (server, handle) = prepared(axum_server::from_unix(listener)?, accept);
                (spawn(server.serve(app), essential), AnyHandle::Unix(handle))
            }
        };
        Ok(Self {
            handle,
            running,
            is_ending,
        })
    }
}

/// Serves in an essential task.
fn spawn(
    serving: impl Future<Output = io::Result<()>> + Send + 'static,
    essential: Essential,
) -> JoinHandle<io::Result<()>> {
    tokio::spawn(async move {
        let _essential = essential;
        serving.await
    })
}

/// The settings of every connection.
fn prepared<A: Address + std::fmt::Debug>(
    server: axum_server::Server<A>,
    accept: WriteTimeoutAcceptor,
) -> (axum_server::Server<A, WriteTimeoutAcceptor>, Handle<A>) {
    let handle = Handle::new();
    let mut server = server
        .acceptor(accept)
        .handle(handle.clone())
        .http1_only()
        .accept_error_handler(
            |peer, cause| tracing::warn!(?peer, %cause, "a connection could not be accepted"),
        );
    // The effective limits are those of [`Unstalled`]. hyper's own limit is longer than both; it is set because without one hyper
    // never polls an idle connection again, and nobody would notice how long it stays idle.
    let both = accept.patience.head + accept.patience.idle;
    let mut http = server.http_builder().http1();
    http.header_read_timeout(both).max_buf_size(HEAD_LIMIT);
    (server, handle)
}

/// Handles a request. One that a proxy might interpret differently is refused, and its connection closed.
async fn one_request(
    State((app, unread)): State<(App, Drain)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(fault) = ambiguity(&request) else {
        let (request, rest) = UnreadBody::of(request);
        let response = next.run(request).await;
        // What has no room yet is told what has been done, however long that took: it has a deadline of its own.
        let late = || Deadline::after(app.settings.request_timeout);
        let response = app.responses.admit(response, late).await;
        return unread.response(rest, response).await;
    };
    let mut response = Problem::malformed(fault).into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// Violations of RFC 9112 that hyper accepts: no host or several (3.2), and unknown or repeated codings (6.1).
fn ambiguity(request: &Request) -> Option<&'static str> {
    let count = |name| request.headers().get_all(name).iter().count();
    let hosts = count(header::HOST);
    if hosts > 1 || (hosts == 0 && request.version() >= Version::HTTP_11) {
        return Some("the request must have one Host header");
    }
    let coding = request.headers().get(header::TRANSFER_ENCODING)?;
    let is_plain = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if is_plain && count(header::TRANSFER_ENCODING) == 1 {
        return None;
    }
    Some("the only Transfer-Encoding that is understood here is `chunked`, once")
}
