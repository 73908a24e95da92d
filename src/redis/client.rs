//! The driver's configuration: the server's address, TLS trust and time limits.

use super::error::{convert, failed};
use super::url::{CertificateTrust, RedisUrl};
use ::redis::aio::MultiplexedConnection;
use ::redis::cluster::{ClusterClient, ClusterClientBuilder};
use ::redis::cluster_async::ClusterConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult, TlsCertificates, TlsMode,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use guestbook_core::error::{ErrorKind, Result};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::time::Duration;

/// Time limit for connecting.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Time limit for a response: a batch of 8 MiB over a slow line, not more.
pub(super) const RESPONSE_LIMIT: Duration = Duration::from_secs(2);
/// The driver's retries per call: a cluster moves keys and masters.
const CLUSTER_TRIES: u32 = 3;
const CLUSTER_WAIT_MS: std::ops::RangeInclusive<u64> = 10..=200;

/// Creates connections.
#[derive(Debug)]
pub(super) enum Connector {
    Server(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// A connection that calls share.
#[derive(Clone)]
pub(super) enum SharedConnection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connector {
    /// Reads certificates, and does not connect yet.
    pub(super) fn new(url: &RedisUrl) -> Result<Self> {
        // One provider per process, whichever is installed first: it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificates = certificates(&url.trust)?;
        let made = if url.is_cluster {
            cluster(url, certificates).map(|client| Self::Cluster(Box::new(client)))
        } else {
            server(url, certificates).map(|client| Self::Server(Box::new(client)))
        };
        made.map_err(|cause| convert("open", cause))
    }

    /// Connects; the caller sets the time limit.
    pub(super) async fn connect(&self) -> RedisResult<SharedConnection> {
        match self {
            Self::Server(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_LIMIT))
                    .set_response_timeout(Some(RESPONSE_LIMIT));
                let connecting = client.get_multiplexed_async_connection_with_config(&config);
                connecting.await.map(SharedConnection::Server)
            }
            Self::Cluster(client) => {
                let connecting = client.get_async_connection();
                connecting.await.map(SharedConnection::Cluster)
            }
        }
    }
}

fn server(url: &RedisUrl, certificates: Option<TlsCertificates>) -> RedisResult<Client> {
    let mut nodes = nodes(url)?;
    let node = nodes.swap_remove(0);
    match certificates {
        Some(certificates) => Client::build_with_tls(node, certificates),
        None => Client::open(node),
    }
}

fn cluster(url: &RedisUrl, certificates: Option<TlsCertificates>) -> RedisResult<ClusterClient> {
    let mut builder = ClusterClientBuilder::new(nodes(url)?)
        .connection_timeout(CONNECT_LIMIT)
        .response_timeout(RESPONSE_LIMIT)
        .overall_response_timeout(Some(RESPONSE_LIMIT))
        .tcp_settings(tcp())
        .retries(CLUSTER_TRIES)
        .min_retry_wait(*CLUSTER_WAIT_MS.start())
        .max_retry_wait(*CLUSTER_WAIT_MS.end());
    if url.trust == CertificateTrust::Anybody {
        builder = builder.tls(TlsMode::Insecure);
    }
    if let Some(certificates) = certificates {
        builder = builder.certs(certificates);
    }
    builder.build()
}

fn nodes(url: &RedisUrl) -> RedisResult<Vec<ConnectionInfo>> {
    let mut settings = RedisConnectionInfo::default().set_db(i64::from(url.db));
    if let Some(credentials) = &url.credentials {
        settings = settings.set_password(&credentials.password);
        if let Some(user) = &credentials.user {
            settings = settings.set_username(user);
        }
    }
    let node = |(host, port): &(String, u16)| {
        let (host, port) = (host.clone(), *port);
        let address = match &url.trust {
            CertificateTrust::Plain => ConnectionAddr::Tcp(host, port),
            trust => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *trust == CertificateTrust::Anybody,
                tls_params: None,
            },
        };
        let node = address.into_connection_info()?;
        Ok(node
            .set_redis_settings(settings.clone())
            .set_tcp_settings(tcp()))
    };
    if let Some(path) = &url.socket {
        let node = ConnectionAddr::Unix(path.clone()).into_connection_info()?;
        return Ok(vec![node.set_redis_settings(settings)]);
    }
    url.hosts.iter().map(node).collect()
}

/// A batch is many small writes, none of which may wait for the response to another.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// The authorities to trust instead of Mozilla's, which are compiled in.
fn certificates(trust: &CertificateTrust) -> Result<Option<TlsCertificates>> {
    let root_cert = match trust {
        CertificateTrust::Plain | CertificateTrust::Anybody => None,
        CertificateTrust::Machine => machine_authorities(),
        CertificateTrust::File(file) => Some(authorities_in(file)?),
    };
    Ok(root_cert.map(|root_cert| TlsCertificates {
        client_tls: None,
        root_cert: Some(root_cert),
    }))
}

/// The text of a PEM file with at least one certificate.
fn authorities_in(file: &Path) -> Result<Vec<u8>> {
    let wrong = |what: String| {
        let context = format!("--cache-url: ca={}: {what}", file.display());
        failed(ErrorKind::Invalid, "open", context)
    };
    let text = std::fs::read(file).map_err(|cause| wrong(cause.to_string()))?;
    let mut store = RootCertStore::empty();
    for found in CertificateDer::pem_slice_iter(&text) {
        let certificate = found.map_err(|cause| wrong(cause.to_string()))?;
        let added = store.add(certificate);
        added.map_err(|cause| wrong(cause.to_string()))?;
    }
    match store.is_empty() {
        true => Err(wrong("there is no certificate in it".into())),
        false => Ok(text),
    }
}

/// The machine's authorities (or those of `SSL_CERT_FILE`) as PEM, the only form that the driver takes; `None` if there are
/// none, as in a bare container.
fn machine_authorities() -> Option<Vec<u8>> {
    let found = rustls_native_certs::load_native_certs().certs;
    let mut store = RootCertStore::empty();
    // One unreadable certificate makes the driver refuse all of them.
    let readable = found.into_iter().filter(|it| store.add(it.clone()).is_ok());
    let pem = readable.map(|it| {
        let text = BASE64_STANDARD.encode(&it);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    });
    Some(pem.collect::<String>().into_bytes()).filter(|pem| !pem.is_empty())
}
