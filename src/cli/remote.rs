//! Asking the guestbook that has the data folder, when it is not us.

use super::Refusal;
use crate::config::Cli;
use crate::service::verify::Report;
use secrecy::ExposeSecret;
use std::net::SocketAddr;

/// The report of a running server.
pub(super) async fn verify(
    cli: &Cli,
    address: SocketAddr,
    guest: Option<&str>,
    repair: bool,
) -> Result<Report, Refusal> {
    let url = match guest {
        Some(guest) => format!("http://{address}/v1/guest/verify/{guest}"),
        None => format!("http://{address}/v1/verify"),
    };
    // Never through a proxy: the server is on this machine.
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.map_err(|cause| format!("the HTTP client could not be made: {cause}"))?;
    let request = if repair {
        client.post(&url)
    } else {
        client.get(&url)
    };
    let request = match &cli.serving.api_key {
        Some(key) => request.bearer_auth(key.expose_secret()),
        None => request,
    };
    let failed = |cause: reqwest::Error| {
        format!("the server on {address} has the data folder, and could not be asked: {cause}")
    };
    let answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(failed)?;
    if status == reqwest::StatusCode::UNAUTHORIZED {
        return Err(format!(
            "the server on {address} wants its API key; set GUESTBOOK_API_KEY"
        ));
    }
    serde_json::from_slice(&body).map_err(|_| {
        let text = String::from_utf8_lossy(&body);
        format!("the server on {address} answered {status}: {text}")
    })
}
