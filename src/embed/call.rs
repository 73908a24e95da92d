//! One HTTP call to an OpenAI-compatible server: bytes there, bytes back, and an error that says whether to try again.
//!
//! Apart from what the bytes mean, because everything that handles the API key is in this file: it goes into the
//! request's header and is blotted out of every cause.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::endpoint::Endpoint;
use super::{EmbedError, reply};
use guestbook_core::api_key::ApiKey;

/// The longest answer to a failed call that is looked at, in bytes.
const LONGEST_COMPLAINT: usize = 65_536;

/// The longest detail kept in a cause, in characters.
const LONGEST_DETAIL: usize = 200;

/// The longest wait that a server may ask for: a wrong number must not stop embedding for days.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A prepared call: the client (it keeps connections), the place, the key, the patience.
pub(super) struct EmbeddingClient {
    client: Client,
    endpoint: Endpoint,
    api_key: Option<ApiKey>,
    timeout: Duration,
}

impl EmbeddingClient {
    /// Prepares the client; nothing is sent yet.
    ///
    /// # Errors
    /// What the HTTP or the TLS library has against it; not to be expected.
    pub(super) fn new(
        endpoint: Endpoint,
        api_key: Option<ApiKey>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls(&endpoint)?)
            .timeout(timeout)
            // A redirect could carry the messages and the key to another host.
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .build()
            .map_err(|error| chain(&error))?;
        Ok(Self {
            client,
            endpoint,
            api_key,
            timeout,
        })
    }

    /// Posts JSON and returns the body of a successful answer, of at most `room` bytes.
    ///
    /// # Errors
    /// Transient if there was no whole answer, or it was 408, 429 or 5xx; else permanent.
    pub(super) async fn post(&self, json: Vec<u8>, room: usize) -> Result<Vec<u8>, EmbedError> {
        let mut request = self
            .client
            .post(self.endpoint.call().clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(json);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key.expose());
        }
        let response = request.send().await;
        let response = response.map_err(|error| self.no_answer(error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        match read(response, room).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) => Err(self.permanent(&format!("the answer has more than {room} bytes"))),
            Err(error) => Err(self.no_answer(error)),
        }
    }

    /// A permanent error with what happened and where, on one line of bounded length.
    pub(super) fn permanent(&self, detail: &str) -> EmbedError {
        let cause = self.cause(detail);
        EmbedError::Permanent { cause }
    }

    /// There was no whole answer. All of it may pass, even a name not found or a certificate out of date.
    fn no_answer(&self, error: reqwest::Error) -> EmbedError {
        let detail = if error.is_timeout() {
            format!("no answer within {:?}", self.timeout)
        } else if error.is_connect() {
            format!("cannot connect: {}", chain(&error.without_url()))
        } else {
            format!("the connection failed: {}", chain(&error.without_url()))
        };
        EmbedError::Transient {
            cause: self.cause(&detail),
            retry_after: None,
        }
    }

    /// There was an answer, but its status is not a success.
    async fn refusal(&self, response: Response) -> EmbedError {
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let mut detail = format!("answered {status}");
        if status.is_redirection() {
            detail.push_str(", and redirects are not followed");
        } else if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            // Those two are clear by themselves, and their text often repeats parts of the key.
            let body = read(response, LONGEST_COMPLAINT).await.ok().flatten();
            if let Some(complaint) = body.and_then(|body| reply::complaint(&body)) {
                detail.push_str(": ");
                detail.push_str(&complaint);
            }
        }
        let cause = self.cause(&detail);
        if is_passing(status) {
            EmbedError::Transient { cause, retry_after }
        } else {
            EmbedError::Permanent { cause }
        }
    }

    fn cause(&self, detail: &str) -> String {
        let detail = match &self.api_key {
            Some(key) => detail.replace(key.expose(), "[key]"), // servers echo requests
            None => detail.to_owned(),
        };
        let on_one_line = |c: char| if c.is_control() { ' ' } else { c };
        let detail: String = detail
            .chars()
            .map(on_one_line)
            .take(LONGEST_DETAIL)
            .collect();
        format!("POST {}/embeddings: {detail}", self.endpoint)
    }
}

impl fmt::Debug for EmbeddingClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("endpoint", &self.endpoint)
            .field("api_key", &self.api_key) // it shows only that it is there
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// TLS by rustls and ring. Trusts Mozilla's authorities, compiled in so that a bare container works, and those of the
/// machine (or of `SSL_CERT_FILE`), so that a company's own server works.
fn tls(endpoint: &Endpoint) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if endpoint.is_https() {
        // Certificates that cannot be read are passed over: what they would have signed fails, and says so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| chain(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The whole body; `None` if it has more than `room` bytes, found out without holding them.
async fn read(mut response: Response, room: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    if response
        .content_length()
        .is_some_and(|length| length > room as u64)
    {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > room {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Whether the same request may succeed later.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    ) || status.is_server_error()
}

/// `Retry-After` in its form of whole seconds; the other form, a date, needs a clock and is passed over.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// An error with all that lies beneath it: the top alone says little more than "error sending request".
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
