//! The listener and the life of a connection.

use super::{HttpSettings, router};
use crate::service::Service;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use hyper_util::rt::TokioTimer;
use std::io;
use std::net::{SocketAddr, TcpListener};
use tokio::task::JoinHandle;

/// A running HTTP server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    running: JoinHandle<io::Result<()>>,
    drain: std::time::Duration,
}

/// Takes the address, so that a port in use is known before any data is opened.
///
/// # Errors
/// What the system said.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
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
            .acceptor(NoDelayAcceptor::new())
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
            .header_read_timeout(settings.header_timeout);
        let app = router(service, settings).into_make_service();
        let running = tokio::spawn(server.serve(app));
        Ok(Self {
            address,
            handle,
            running,
            drain,
        })
    }

    /// The address it listens on; the real port when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connection, lets requests in flight end within the drain time, then closes what is left.
    pub async fn stop(self) {
        self.handle.graceful_shutdown(Some(self.drain));
        match self.running.await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => tracing::error!(%cause, "the HTTP server ended badly"),
            Err(cause) => tracing::error!(%cause, "the HTTP server ended badly"),
        }
    }
}
