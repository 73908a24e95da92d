//! `guestbook serve`: opens everything, serves until it is told to stop, and leaves nothing half done.

use super::listening::{self, Inherited};
use super::manager::Told;
use super::{FATAL, Places, Refusal};
use crate::config::Cli;
use crate::error::{Error, ErrorKind};
use crate::http::{Server, ServerAddress};
use crate::service::{Parts, Service};
use crate::storage::open::Purpose;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long a stop may take altogether, also when a store hangs: service managers kill what is still there after 10 s.
/// What is left of the 10 is for threads that hang.
const STOP_WITHIN: Duration = Duration::from_millis(8_500);

pub(super) async fn run(cli: &Cli, inherited: Inherited) -> Result<ExitCode, Refusal> {
    raise_file_limit();
    let places = Places::of(cli)?;
    let mut stop = StopSignals::new()?;
    let listeners = listening::open(cli, inherited).await?;
    Told::opening();
    let mut folder = places.lock().map_err(|taken| taken.to_string())?;
    let parts = tokio::select! {
        biased;
        parts = places.open(cli, Purpose::Serve) => parts?,
        name = stop.received() => {
            tracing::info!(signal = name, "stopped before it had started; nothing was changed");
            return Ok(ExitCode::SUCCESS);
        }
    };
    crate::failpoint::reach("open.after");
    let service = Service::start(parts, cli.service_settings());
    let server = Server::start(listeners, service.clone(), cli.http_settings())
        .map_err(|cause| format!("cannot serve: {cause}"))?;
    if let Some(folder) = &mut folder
        && let Some(address) = listening::nearest(server.addresses())
        && let Err(cause) = folder.announce(&address)
    {
        tracing::error!(%cause, "the lock file of the data folder cannot be written; other commands do not find this server");
    }
    print_banner(cli, server.addresses(), service.parts()).await;
    let told = Told::serving(&service, &in_words(server.addresses()));
    let fatal = tokio::select! {
        name = stop.received() => {
            tracing::info!(signal = name, "stopping: requests in flight are finished first");
            None
        }
        fatal = service.fatal() => Some(fatal),
    };
    told.stopping();
    let since = Instant::now();
    server.stop().await;
    let left = STOP_WITHIN.saturating_sub(since.elapsed());
    let stopped = tokio::time::timeout(left, service.stop()).await;
    let stopped = stopped.unwrap_or_else(|_| Err(hung()));
    drop(folder);
    let fatal = fatal.or_else(|| service.parts().database.fatal()); // it may have come with the last write
    Ok(match (fatal, stopped) {
        (Some(cause), _) => {
            let next = match cause.kind() {
                ErrorKind::Corrupt => "", // the cause says what to do
                _ => "; start it again to recover",
            };
            eprintln!(
                "guestbook: stopped, because nothing more may be acknowledged: {cause}{next}"
            );
            ExitCode::from(FATAL)
        }
        (None, Err(cause)) => {
            // What was answered is in the database; what the lists lack is mended at the next start.
            tracing::error!(%cause, "stopped; a store could not be closed cleanly, the next start mends it");
            ExitCode::SUCCESS
        }
        (None, Ok(())) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
    })
}

/// Nothing was answered that is not stored, so whoever waited sends again, and the next start mends the lists.
fn hung() -> Error {
    let context =
        format!("a store does not answer; it was waited for within {STOP_WITHIN:?} in all");
    Error::new(ErrorKind::Unavailable, "service", "stop", context)
}

/// Each connection is a file, and many systems allow 1,024 unless a program asks for what it may have.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(cause) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%cause, files = limit.current, "the limit of open files could not be raised");
    }
}

/// What a service manager or a person at a terminal sends.
pub(super) struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl StopSignals {
    pub(super) fn new() -> Result<Self, Refusal> {
        let listen =
            |kind| signal(kind).map_err(|cause| format!("signals cannot be handled: {cause}"));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    pub(super) async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// `http://127.0.0.1:8000, unix:/run/guestbook.sock`
fn in_words(addresses: &[ServerAddress]) -> String {
    let word = |address: &ServerAddress| match address {
        ServerAddress::Tcp(address) => format!("http://{address}"),
        ServerAddress::Unix(_) => address.to_string(),
    };
    let words: Vec<_> = addresses.iter().map(word).collect();
    words.join(", ")
}

async fn print_banner(cli: &Cli, addresses: &[ServerAddress], parts: &Parts) {
    let ttl = humantime::format_duration(cli.stores.list_ttl().0);
    let retention = cli.stores.retention.map_or_else(
        || "kept for ever".to_owned(),
        |span| format!("kept for {}", humantime::format_duration(span)),
    );
    let model = parts.embedder.as_ref().map_or_else(
        || "none".to_owned(),
        |embedder| embedder.model().to_string(),
    );
    let (database, lists) = (&parts.database, &parts.lists);
    let durability = match database.durability().await {
        Ok(promise) => format!("durability {}: {}", promise.durability, promise.settings),
        Err(_) => "durability not known".to_owned(),
    };
    println!(
        "guestbook {} on {}",
        env!("CARGO_PKG_VERSION"),
        in_words(addresses)
    );
    println!(
        "  tables    {:<7} {} ({retention}; {durability})",
        database.name(),
        database.location()
    );
    println!(
        "  lists     {:<7} {} (expire after {ttl})",
        lists.name(),
        lists.location()
    );
    println!("  embedder  {model}");
    let key = if cli.serving.api_key.is_some() {
        " -H \"Authorization: Bearer $GUESTBOOK_API_KEY\""
    } else {
        ""
    };
    println!(
        "  try it    curl -s {}/v1/guest/chat/test-guest-001 -H 'Content-Type: application/json'{key} \\",
        listening::nearest(addresses)
            .map_or_else(String::new, |address| listening::for_curl(&address))
    );
    println!(
        "              -d '{{\"role\":\"user\",\"content\":\"Test\",\"timestamp\":\"2025-12-21T12:00:00Z\"}}'"
    );
}
