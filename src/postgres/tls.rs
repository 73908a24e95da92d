//! The connection to the server, encrypted as its URL requires.

use super::NAME;
use guestbook_core::error::{Error, ErrorKind, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) type Tls = tokio_postgres_rustls::MakeRustlsConnect;

/// How the server is authenticated: libpq's `sslmode`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum TlsTrust {
    /// `disable`: no encryption.
    Plain,
    /// `prefer`: encryption if the server offers it, without authentication.
    IfOffered,
    /// `require`: encryption without authentication.
    Anyone,
    /// `verify-ca`, or `require` with an authority: its certificate must be signed by the authority.
    Signed {
        /// A PEM file; `None` for the system's authorities.
        authority: Option<PathBuf>,
    },
    /// `verify-full`: its certificate must also be valid for the host name.
    Verified {
        /// As above.
        authority: Option<PathBuf>,
    },
}

impl TlsTrust {
    pub(super) fn parse(mode: &str, authority: Option<PathBuf>) -> Option<Self> {
        Some(match mode {
            "disable" => Self::Plain,
            "allow" | "prefer" => Self::IfOffered,
            "require" if authority.is_none() => Self::Anyone,
            "require" | "verify-ca" => Self::Signed { authority },
            "verify-full" => Self::Verified { authority },
            _ => return None,
        })
    }
}

/// The TLS connector.
pub(super) fn open(trust: &TlsTrust) -> Result<Tls> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let config = match trust {
        TlsTrust::Plain | TlsTrust::IfOffered | TlsTrust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyNameVerifier {
                inner: None,
                provider,
            })),
        TlsTrust::Signed { authority } => {
            let roots = Arc::new(roots(authority.as_deref())?);
            let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(unusable)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyNameVerifier {
                    inner: Some(inner),
                    provider,
                }))
        }
        TlsTrust::Verified { authority } => {
            builder.with_root_certificates(roots(authority.as_deref())?)
        }
    };
    Ok(Tls::new(config.with_no_client_auth()))
}

fn roots(authority: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match authority {
        Some(path) => {
            let wrong = |cause: &dyn std::fmt::Display| {
                let context = format!("sslrootcert {}: {cause}", path.display());
                Error::new(ErrorKind::Invalid, NAME, "open", context)
            };
            for found in CertificateDer::pem_file_iter(path).map_err(|cause| wrong(&cause))? {
                let found = found.map_err(|cause| wrong(&cause))?;
                roots.add(found).map_err(|cause| wrong(&cause))?;
            }
            if roots.is_empty() {
                return Err(wrong(&"there is no certificate in it"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
        }
    }
    Ok(roots)
}

fn unusable(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::caused(
        ErrorKind::Internal,
        NAME,
        "open",
        "TLS cannot be set up",
        cause,
    )
}

/// Accepts what libpq accepts below `verify-full`: with an authority any certificate that it signed, for any name; without one
/// any certificate.
#[derive(Debug)]
struct AnyNameVerifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyNameVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified =
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
