//! The listener and the life of a connection.

use super::answers::Answers;
use super::stall::Unstalled;
use super::unread::{Rest, Unread};
use super::{HttpSettings, Problem, router};
use crate::service::Service;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinHandle;

/// Bytes of the head of a request at most, and of a body that are read ahead of it: what a connection may take of our memory
/// before anything is known of it. Ours have a few hundred bytes; a proxy adds some thousand at most.
const HEAD_LIMIT: usize = 16 << 10;

/// Connections that may wait to be accepted. With the usual 128 a crowd that comes at once makes others wait for a second, until
/// they knock again.
const BACKLOG: i32 = 4096;

/// A running HTTP server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    running: JoinHandle<io::Result<()>>,
    /// Set when it is told to end; an end before that is a failure of the service.
    is_ending: Arc<AtomicBool>,
    drain: std::time::Duration,
}

/// Takes the address, so that a port in use is known before any data is opened.
///
/// # Errors
/// What the system said.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

impl Server {
    /// Serves on the current runtime until [`Self::stop`].
    ///
    /// # Errors
    /// What the system said about the listener.
    pub fn start(
        listener: TcpListener,
        service: Service,
        settings: HttpSettings,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let handle = Handle::new();
        let drain = settings.drain_timeout;
        let mut server = axum_server::from_tcp(listener)?
            .acceptor(Unstalled(settings.body_timeout))
            .handle(handle.clone())
            .http1_only()
            .first_request_timeout(settings.header_timeout)
            .accept_error_handler(
                |peer, cause| tracing::warn!(?peer, %cause, "a connection could not be accepted"),
            );
        // Neither hyper nor axum-server closes a connection whose head never comes unless it is told to.
        server
            .http_builder()
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header_timeout)
            .max_buf_size(HEAD_LIMIT);
        let answers = Answers::new(settings.answers_limit, settings.request_timeout);
        let passing = (answers, Unread::default());
        let essential = service.essential("HTTP");
        let is_ending = essential.expectation();
        let app = router(service, settings).layer(from_fn_with_state(passing, one_request));
        let serving = server.serve(app.into_make_service());
        let running = tokio::spawn(async move {
            let _essential = essential;
            serving.await
        });
        Ok(Self {
            address,
            handle,
            running,
            is_ending,
            drain,
        })
    }

    /// The address it listens on; the real port when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connection, lets requests in flight end within the drain time, then closes what is left.
    pub async fn stop(self) {
        self.is_ending.store(true, Ordering::Release);
        self.handle.graceful_shutdown(Some(self.drain));
        match self.running.await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => tracing::error!(%cause, "the HTTP server ended badly"),
            Err(cause) => tracing::error!(%cause, "the HTTP server ended badly"),
        }
    }
}

/// Lets a request in, and its answer out. What a proxy before us may take for another request than we do is refused, and nothing
/// more is taken from its connection.
async fn one_request(
    State((answers, unread)): State<(Answers, Unread)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(fault) = ambiguity(&request) else {
        let (request, rest) = Rest::of(request);
        let answer = answers.admit(next.run(request).await).await;
        return unread.answer(rest, answer).await;
    };
    let mut response = Problem::malformed(fault).into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// What hyper lets pass and RFC 9112 does not: no host or several (3.2), and codings that we do not know or that come twice (6.1).
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
