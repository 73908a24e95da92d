//! The commands, one file each, and what they share: the way from settings to open stores.

mod asked;
mod backup;
mod bench;
mod cache;
mod copying;
mod data_dir;
mod listening;
mod manager;
mod reembed;
mod remote;
mod restore;
mod search;
mod serve;
mod sql;
mod verify;

use crate::chat::{Clock, SystemClock};
use crate::config::{Cli, Command, LogArgs, LogFormat, TextIndex};
use crate::embed::Embedder;
use crate::embed::openai::OpenAiOptions;
use crate::service::Parts;
use crate::storage::Durability;
use crate::storage::database::TableSettings;
use crate::storage::open::{Access, CacheUrl, DatabaseUrl, Purpose};
use data_dir::DataDir;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Something is missing.
const MISSING: u8 = 1;
/// It could not be done, or not all of it, and why was said.
const REFUSED: u8 = 2;
/// The database failed in a way after which nothing more may be acknowledged (EX_SOFTWARE).
const FATAL: u8 = 70;

/// Why a command could not be carried out: one line for a person, saying what to do next.
type Refusal = String;

/// Does what the command line says.
pub fn run(cli: Cli) -> ExitCode {
    // First of all, while there is one thread: it changes the environment.
    let inherited = listening::Inherited::take();
    if let Err(refusal) = log_to_stderr(&cli.logging) {
        return refuse(&cli.origins.explain(&refusal));
    }
    // reqwest is built without a cryptography provider of its own. A second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(cause) => return refuse(&format!("the runtime could not be started: {cause}")),
    };
    let command = cli.command.clone().unwrap_or(Command::Serve);
    let done = runtime.block_on(async {
        match command {
            Command::Serve => serve::run(&cli, inherited).await,
            Command::Verify {
                guest,
                repair,
                json,
            } => verify::run(&cli, guest.as_deref(), repair, json).await,
            Command::Reembed => reembed::run(&cli).await,
            Command::Cache { action } => cache::run(&cli, &action).await,
            Command::Search(args) => search::run(&cli, &args).await,
            Command::Backup { path } => backup::run(&cli, path).await,
            Command::Restore { path } => restore::run(&cli, path).await,
            Command::Bench(args) => bench::run(&cli, &args).await,
            Command::Sql { statement } => sql::run(&cli, &statement).await,
        }
    });
    // A thread of a store that hangs must not keep the process from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done.unwrap_or_else(|refusal| refuse(&cli.origins.explain(&refusal)))
}

fn refuse(refusal: &str) -> ExitCode {
    eprintln!("guestbook: {refusal}");
    ExitCode::from(REFUSED)
}

/// What became of writing to standard output. A reader that has seen enough, such as `head`, is no failure.
fn written(outcome: std::io::Result<()>) -> Result<(), Refusal> {
    match outcome {
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("the answer cannot be written: {cause}"))
        }
        _ => Ok(()),
    }
}

fn log_to_stderr(args: &LogArgs) -> Result<(), Refusal> {
    let filter =
        EnvFilter::try_new(&args.log).map_err(|cause| format!("--log {}: {cause}", args.log))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Where both stores are, from flags and defaults.
struct Places {
    database: DatabaseUrl,
    cache: CacheUrl,
}

impl Places {
    fn of(cli: &Cli) -> Result<Self, Refusal> {
        let stores = &cli.stores;
        let database = match &stores.database_url {
            Some(url) => DatabaseUrl::parse(url).map_err(|error| error.context().to_owned())?,
            None => DatabaseUrl::Sqlite(stores.data_dir.join("guestbook.db")),
        };
        let cache = match &stores.cache_url {
            Some(url) => CacheUrl::parse(url).map_err(|error| error.context().to_owned())?,
            None => CacheUrl::Sled(stores.data_dir.join("lists")),
        };
        require_file_for_durability(stores.durability, &database)?;
        Ok(Self { database, cache })
    }

    /// Refuses to look at tables that are not there: new ones would be made, and nothing would be wrong with them.
    fn require_tables(&self) -> Result<(), Refusal> {
        match &self.database {
            DatabaseUrl::Sqlite(path) if !path.exists() => Err(format!(
                "there is no database at {}; start `guestbook` once, or check --data-dir",
                path.display()
            )),
            DatabaseUrl::Memory => Err(
                "tables in memory belong to the process that serves them; ask that one, over HTTP"
                    .into(),
            ),
            _ => Ok(()),
        }
    }

    /// Makes sure that no other process works on the same files.
    fn lock(&self) -> Result<Option<DataDir>, data_dir::Taken> {
        let folder = self.database.folder().or(self.cache.folder());
        folder.map(DataDir::lock).transpose()
    }

    /// Opens both stores and the embedder.
    async fn open(&self, cli: &Cli, purpose: Purpose) -> Result<Parts, Refusal> {
        let embedder = embedder(cli)?;
        let settings = TableSettings {
            list_ttl: cli.stores.list_ttl(),
            retention: cli.stores.retention,
            model: embedder.as_ref().map(|embedder| embedder.model().clone()),
            cache_backend: self.cache.backend(),
            text_index: cli.embedding.text_index == TextIndex::On,
        };
        let database = crate::storage::open::database(
            &self.database,
            Access {
                connections: cli.stores.database_connections,
                durability: cli.stores.durability.unwrap_or_default(),
            },
            settings,
            purpose,
        )
        .await
        .map_err(|error| error.to_string())?;
        let lists = crate::storage::open::lists(&self.cache)
            .await
            .map_err(|error| error.to_string())?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Parts {
            database,
            lists,
            embedder,
            clock,
        })
    }
}

/// Only the embedded database is set here: elsewhere the flag would be a promise that nobody keeps.
fn require_file_for_durability(
    asked: Option<Durability>,
    database: &DatabaseUrl,
) -> Result<(), Refusal> {
    if asked.is_none() {
        return Ok(());
    }
    let why = match database.backend() {
        "sqlite" => return Ok(()),
        "memory" => "tables in memory outlive nothing; leave it out",
        _ => {
            "what a PostgreSQL server keeps is decided by its own fsync, full_page_writes and synchronous_commit; set those on \
             the server, and leave the flag out"
        }
    };
    Err(format!(
        "--durability (GUESTBOOK_DURABILITY) is for the embedded database: {why}"
    ))
}

fn embedder(cli: &Cli) -> Result<Option<Arc<dyn Embedder>>, Refusal> {
    let args = &cli.embedding;
    let options = OpenAiOptions {
        model: args.embedder_model.clone(),
        dimension: args.embedder_dimension,
        api_key: args.embedder_key.clone(),
        timeout: args.embedder_timeout,
    };
    let spec = args.embedder();
    crate::embed::open::open(&spec, options).map_err(|cause| format!("--embedder {spec}: {cause}"))
}
