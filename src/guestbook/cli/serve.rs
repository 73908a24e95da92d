//! `guestbook serve`: opens everything, serves until a signal stops it, and leaves nothing half done.

use super::listening::{self, Inherited};
use super::manager::ManagerStatus;
use super::{CliError, FATAL, StoreUrls};
use crate::config::Cli;
use crate::console;
use crate::open::OpenMode;
use guestbook_core::error::{Error, ErrorKind};
use guestbook_http::HttpServer;
use guestbook_http::ServerAddress;
use guestbook_service::{Service, ServiceParts, carry_out};
use guestbook_storage::database::Persisted;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a stop may take altogether, also when a store hangs: service managers kill what is still there after 10 s.
/// What is left of the 10 is for threads that hang.
const STOP_WITHIN: Duration = Duration::from_millis(8_500);
/// When the process ends whatever hangs, also a thread that the runtime waits on: a moment before those 10 s are over.
const END_WITHIN: Duration = Duration::from_millis(9_800);

pub(super) async fn run(cli: &Cli, inherited: Inherited) -> Result<ExitCode, CliError> {
    raise_file_limit();
    let places = StoreUrls::of(cli)?;
    let mut stop = StopSignals::new()?;
    heed_hangups()?;
    let listeners = listening::open(cli, inherited).await?;
    ManagerStatus::opening();
    let mut folder = places.lock().map_err(|taken| taken.to_string())?;
    let parts = tokio::select! {
        biased;
        parts = places.open(cli, OpenMode::Serve) => parts?,
        name = stop.received() => {
            tracing::info!(signal = name, "stopped before it had started; nothing was changed");
            return Ok(ExitCode::SUCCESS);
        }
    };
    guestbook_failpoint::reach("open.after");
    if !places.are_shared()
        && let Err(cause) = carry_out(&parts, || true).await
    {
        tracing::error!(%cause, "the lists cannot be given the life that --list-ttl says yet; it is tried again");
    }
    let service = Service::start(parts, cli.service_settings());
    let server = HttpServer::start(listeners, service.clone(), cli.http_settings())
        .map_err(|cause| format!("cannot serve: {cause}"))?;
    if let Some(folder) = &mut folder
        && let Some(address) = listening::nearest(server.addresses())
        && let Err(cause) = folder.announce(&address)
    {
        tracing::error!(%cause, "the lock file of the data folder cannot be written; other commands do not find this server");
    }
    console::announce(banner(cli, server.addresses(), service.parts()).await);
    let told = ManagerStatus::serving(&service, &in_words(server.addresses()));
    let fatal = tokio::select! {
        biased;
        fatal = service.fatal() => Some(fatal),
        name = stop.received() => {
            tracing::info!(signal = name, "stopping: requests in flight are finished first");
            None
        }
    };
    told.stopping();
    let since = Instant::now();
    end_in_any_case(if fatal.is_some() { FATAL } else { 0 });
    server.stop().await;
    let left = STOP_WITHIN.saturating_sub(since.elapsed());
    let stopped = stop_within(left, service.clone()).await;
    drop(folder);
    // It may have come with the last write, or in the stop.
    let fatal = fatal
        .or_else(|| service.failure())
        .or_else(|| service.parts().database.backend.fatal());
    Ok(ended(fatal, stopped))
}

/// In a task of its own: what panics there must not take the words and the code of the end along.
async fn stop_within(limit: Duration, service: Service) -> Result<(), Error> {
    let essential = service.essential("stopping");
    let stopping = tokio::spawn(async move {
        let _essential = essential;
        service.stop().await
    });
    match tokio::time::timeout(limit, stopping).await {
        Ok(stopped) => stopped.unwrap_or_else(|panic| {
            let context = "it panicked";
            Err(Error::caused(
                ErrorKind::Internal,
                "service",
                "stop",
                context,
                panic,
            ))
        }),
        Err(_) => Err(hung()),
    }
}

/// Says how it ended.
fn ended(fatal: Option<Error>, stopped: Result<(), Error>) -> ExitCode {
    match (fatal, stopped) {
        (Some(cause), _) => {
            let next = match cause.kind() {
                ErrorKind::Corrupt => "", // the cause says what to do
                _ => "; start it again to recover",
            };
            console::tell(&format!(
                "guestbook: stopped, because nothing more may be acknowledged: {cause}{next}"
            ));
            return ExitCode::from(FATAL);
        }
        (None, Err(cause)) => {
            // What was acknowledged is in the database; session lists are reconciled at the next start.
            tracing::error!(%cause, "stopped; a store could not be closed cleanly, the next start repairs it");
        }
        (None, Ok(())) => tracing::info!("stopped"),
    }
    ExitCode::SUCCESS
}

/// Every limit of a stop is kept by the runtime, which cannot keep it while a thread of it hangs in a call of the system: a disk
/// that does not answer. So a thread that does nothing else ends the process then.
fn end_in_any_case(code: u8) {
    let thread = std::thread::Builder::new().name("end".into());
    let ending = thread.spawn(move || {
        std::thread::sleep(END_WITHIN);
        std::process::exit(code.into());
    });
    if let Err(cause) = ending {
        tracing::warn!(%cause, "no thread to watch over the end");
    }
}

/// Nothing was acknowledged that is not stored: clients send again, and the next start reconciles the session lists.
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

/// How long the result of a command may take to be written once a signal has come.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a service manager or a person at a terminal sends.
pub(super) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    /// The last one that came.
    last: Option<&'static str>,
}

impl StopSignals {
    pub(super) fn new() -> Result<Self, CliError> {
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            last: None,
        })
    }

    pub(super) async fn received(&mut self) -> &'static str {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        };
        self.last = Some(name);
        name
    }

    /// When the result of a command is no longer waited for.
    async fn ended(&mut self) -> &'static str {
        match self.last {
            Some(name) => {
                tokio::time::sleep(LAST_WORDS).await;
                name
            }
            None => self.received().await,
        }
    }

    /// Writes the result of a command. As long as nobody takes it, the signals end the command all the same; one that came
    /// before, while the work could no longer be given up, leaves the result [`LAST_WORDS`].
    pub(super) async fn print(&mut self, text: String) -> Result<(), CliError> {
        let write = move || console::print(|out| out.write_all(text.as_bytes()));
        tokio::select! {
            written = tokio::task::spawn_blocking(write) => {
                written.unwrap_or_else(|cause| Err(format!("the result cannot be written: {cause}")))
            }
            name = self.ended() => Err(format!("{name} came before anybody took the result")),
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|cause| format!("signals cannot be handled: {cause}"))
}

/// Heeds SIGHUP, which would end the process otherwise: what rotates logs sends it to everything that has a log. Ours is whatever
/// standard error was connected to, and whoever did that reopens it.
fn heed_hangups() -> Result<(), CliError> {
    let mut hangups = listen(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            tracing::info!("SIGHUP: there is nothing to reopen, the log goes to standard error");
        }
    });
    Ok(())
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

/// Where what is, and a first request.
async fn banner(cli: &Cli, addresses: &[ServerAddress], parts: &ServiceParts) -> String {
    let stored = parts.database.settings.stored_settings().await.ok();
    let held = stored.and_then(|stored| stored.held);
    let value = |which| {
        held.as_ref()
            .map_or("?".to_owned(), |held| held.value(which))
    };
    let (ttl, retention) = (value(Persisted::ListTtl), value(Persisted::Retention));
    let retention = match retention.as_str() {
        "off" => "kept for ever".to_owned(),
        span => format!("kept for {span}"),
    };
    let model = parts.embedder.as_ref().map_or_else(
        || "none".to_owned(),
        |embedder| embedder.model().to_string(),
    );
    let (database, lists) = (&parts.database, &parts.lists);
    let durability = match database.backend.durability().await {
        Ok(promise) => format!("durability {}: {}", promise.durability, promise.settings),
        Err(_) => "durability not known".to_owned(),
    };
    let key = match cli.serving.api_key {
        Some(_) => " -H \"Authorization: Bearer $GUESTBOOK_API_KEY\"",
        None => "",
    };
    let base = listening::nearest(addresses)
        .map_or_else(String::new, |address| listening::for_curl(&address));
    let [tables, expiring] =
        [database.backend.name(), lists.name()].map(|name| format!("{name:<7}"));
    let lines = [
        format!(
            "guestbook {} on {}",
            env!("CARGO_PKG_VERSION"),
            in_words(addresses)
        ),
        format!(
            "  tables    {tables} {} ({retention}; {durability})",
            database.backend.location()
        ),
        format!(
            "  lists     {expiring} {} (expire after {ttl})",
            lists.location()
        ),
        format!("  embedder  {model}"),
        format!(
            "  try it    curl -s {base}/v1/guest/chat/test-guest-001 -H 'Content-Type: application/json'{key} \\"
        ),
        r#"              -d '{"role":"user","content":"Test","timestamp":"2025-12-21T12:00:00Z"}'"#
            .to_owned(),
    ];
    lines.join("\n") + "\n"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;
    use rustix::process::{Signal as Number, getpid, kill_process};

    /// Work that could no longer be given up has taken the only signal: what is left must not wait for another one.
    #[tokio::test]
    async fn a_signal_that_came_during_the_work_also_ends_the_wait_for_a_reader() {
        let mut signals = StopSignals::new().unwrap();
        kill_process(getpid(), Number::TERM).unwrap();
        assert_eq!(signals.received().await, "SIGTERM");
        assert_eq!(signals.ended().await, "SIGTERM");
    }
}
