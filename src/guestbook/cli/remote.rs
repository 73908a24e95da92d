//! Asking the guestbook that has the data folder, when it is not us.

use super::CliError;
use super::search::{SearchQuestion, SearchResponse};
use crate::config::Cli;
use guestbook_http::{ServerAddress, StatsResponse};
use guestbook_service::verify::VerifyReport;
use guestbook_storage::database::SearchScope;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long a server may be silent before it counts as one that hangs.
const ALIVE_WITHIN: Duration = Duration::from_secs(10);

/// The report of a running server.
pub(super) async fn verify(
    cli: &Cli,
    address: &ServerAddress,
    guest: Option<&str>,
    repair: bool,
) -> Result<VerifyReport, CliError> {
    let url = match guest {
        Some(guest) => url(address, &["guest", "verify", guest])?,
        None => url(address, &["verify"])?,
    };
    let method = if repair { Method::POST } else { Method::GET };
    ask(cli, address, method, url).await
}

/// What a running server finds.
pub(super) async fn search(
    cli: &Cli,
    address: &ServerAddress,
    question: &SearchQuestion,
) -> Result<SearchResponse, CliError> {
    let mut url = match &question.scope {
        Some(SearchScope::Guest(guest)) => {
            url(address, &["guest", "chat", guest.as_str(), "search"])?
        }
        Some(SearchScope::User(user)) => url(address, &["user", user.as_str(), "search"])?,
        None => {
            let url = url(address, &["search"])?;
            let (text, mode) = (question.text.as_str(), question.mode.as_str());
            let body = serde_json::json!({"q": text, "mode": mode, "k": question.k.get()});
            let with_body = |request: RequestBuilder| {
                let head = (CONTENT_TYPE, "application/json");
                request.header(head.0, head.1).body(body.to_string())
            };
            return ask_with(cli, address, Method::POST, url, with_body).await;
        }
    };
    url.query_pairs_mut()
        .append_pair("q", question.text.as_str())
        .append_pair("mode", question.mode.as_str())
        .append_pair("k", &question.k.get().to_string());
    ask(cli, address, Method::GET, url).await
}

/// What the answers to prompts of a running server were good for.
pub(super) async fn prompt_stats(
    cli: &Cli,
    address: &ServerAddress,
) -> Result<StatsResponse, CliError> {
    ask(cli, address, Method::GET, url(address, &["cache"])?).await
}

#[derive(Deserialize)]
struct ClearedResponse {
    deleted: u64,
}

/// Has a running server remove the answers of a scope; how many.
pub(super) async fn forget(
    cli: &Cli,
    address: &ServerAddress,
    scope: &str,
) -> Result<u64, CliError> {
    let mut url = url(address, &["cache"])?;
    url.query_pairs_mut().append_pair("scope", scope);
    let forgotten: ClearedResponse = ask(cli, address, Method::DELETE, url).await?;
    Ok(forgotten.deleted)
}

/// `http://ADDRESS/v1/…`, each segment as it must be written there.
fn url(address: &ServerAddress, segments: &[&str]) -> Result<Url, CliError> {
    if let Some(dots) = segments
        .iter()
        .find(|segment| matches!(**segment, "." | ".."))
    {
        return Err(format!(
            "the id `{dots}` cannot stand in a URL, so the server on {address} cannot be asked for it; stop it, and run this again"
        ));
    }
    let unusable = || format!("the address {address} of the server cannot be asked");
    let mut url = Url::parse(&format!("{}/v1", base(address))).map_err(|_| unusable())?;
    url.path_segments_mut()
        .map_err(|()| unusable())?
        .extend(segments);
    Ok(url)
}

/// How URLs of the server begin. One at a unix socket still wants a host.
fn base(address: &ServerAddress) -> String {
    match address {
        ServerAddress::Tcp(address) => format!("http://{address}"),
        ServerAddress::Unix(_) => "http://localhost".to_owned(),
    }
}

/// Never through a proxy: the server is on this machine.
fn client(address: &ServerAddress) -> Result<Client, CliError> {
    let builder = Client::builder().no_proxy();
    let builder = match address {
        ServerAddress::Tcp(_) => builder,
        ServerAddress::Unix(path) => builder.unix_socket(path.as_path()),
    };
    let client = builder.build();
    client.map_err(|cause| format!("the HTTP client could not be made: {cause}"))
}

async fn ask<T: DeserializeOwned>(
    cli: &Cli,
    address: &ServerAddress,
    method: Method,
    url: Url,
) -> Result<T, CliError> {
    ask_with(cli, address, method, url, |request| request).await
}

async fn ask_with<T: DeserializeOwned>(
    cli: &Cli,
    address: &ServerAddress,
    method: Method,
    url: Url,
    with: impl FnOnce(RequestBuilder) -> RequestBuilder,
) -> Result<T, CliError> {
    let client = client(address)?;
    let request = with(client.request(method, url));
    let request = match &cli.serving.api_key {
        Some(key) => request.bearer_auth(key.expose()),
        None => request,
    };
    let failed = |cause: reqwest::Error| {
        format!("the server on {address} has the data folder, and could not be asked: {cause}")
    };
    require_alive(&client, address).await?;
    let answered = async {
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(failed)?;
        Ok::<_, CliError>((status, body))
    };
    let (status, body) = tokio::select! {
        answered = answered => answered?,
        hangs = hangs(&client, address) => return Err(hangs),
    };
    if status == StatusCode::UNAUTHORIZED {
        let key = match cli.serving.api_key {
            None => "wants its API key; set GUESTBOOK_API_KEY",
            Some(_) => {
                "refuses this API key; set GUESTBOOK_API_KEY, or --api-key, to the one it was started with"
            }
        };
        return Err(format!("the server on {address} {key}"));
    }
    let unexpected = || {
        let text = match serde_json::from_slice(&body) {
            Ok(ProblemText { detail }) => detail,
            Err(_) => String::from_utf8_lossy(&body).into_owned(),
        };
        format!("the server on {address} answered {status}: {text}")
    };
    match status.is_success() {
        true => serde_json::from_slice(&body).map_err(|_| unexpected()),
        false => Err(unexpected()),
    }
}

/// What of problem+json is for people.
#[derive(Deserialize)]
struct ProblemText {
    detail: String,
}

/// Why a server that was asked something is not waited for any longer. An answer may take as long as it likes, a recount takes
/// minutes, but whoever works on one still says that it is there.
async fn hangs(client: &Client, address: &ServerAddress) -> CliError {
    loop {
        tokio::time::sleep(ALIVE_WITHIN).await;
        if let Err(hangs) = require_alive(client, address).await {
            return hangs;
        }
    }
}

async fn require_alive(client: &Client, address: &ServerAddress) -> Result<(), CliError> {
    let health = client.get(format!("{}/health", base(address)));
    let asked = health.timeout(ALIVE_WITHIN).send().await;
    asked.map(drop).map_err(|cause| {
        let how = match cause.is_timeout() {
            true => format!("does not answer: /health was silent for {ALIVE_WITHIN:?}"),
            false => format!("could not be asked: {cause}"),
        };
        format!("the server on {address} has the data folder, and {how}; look at its log, or stop it and run this again")
    })
}
