//! The commands, one file each, and what they share: the way from settings to open stores.

mod backup;
mod backup_progress;
mod bench;
mod cache;
mod data_dir;
mod data_source;
mod listening;
mod manager;
mod persisted;
mod printed;
mod reembed;
mod remote;
mod restore;
mod search;
mod serve;
mod settings;
mod sql;
mod verify;

use crate::config::{Cli, Command, LogFormat};
use crate::console::{self, Form, Log};
use crate::open::{
    CacheUrl, DatabaseUrl, OpenMode, OpenOptions, lists, lists_of, make_files_private,
    require_folder,
};
use data_dir::DataDir;
use guestbook_core::error::Error;
use guestbook_core::{Clock, ModelId, SystemClock};
use guestbook_service::ServiceParts;
use guestbook_storage::database::TableSettings;
use guestbook_storage::{Durability, Stores};
use persisted::GivenSettings;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Something is missing.
const MISSING: u8 = 1;
/// It could not be done, or not all of it, and why was said.
const REFUSED: u8 = 2;
/// The database failed in a way after which nothing more may be acknowledged (EX_SOFTWARE).
const FATAL: u8 = 70;

/// Why a command could not be carried out: one line for a person, saying what to do next.
type CliError = String;

/// Does what the command line says.
pub fn run(cli: Cli) -> ExitCode {
    // First of all, while there is one thread: it changes the environment.
    let inherited = listening::Inherited::take();
    make_files_private(); // before anything is made, and before there is a thread
    let Ok(log) = Log::start() else {
        return ExitCode::from(REFUSED);
    };
    log.open(&cli.logging.log, form(cli.logging.log_format));
    // reqwest is built without a cryptography provider of its own. A second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(cause) => {
            let next = guestbook_storage::path::advice(&cause);
            return refuse(&format!(
                "the runtime could not be started: {cause}; {next}"
            ));
        }
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
            Command::Settings { action, json } => settings::run(&cli, action.as_ref(), json).await,
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
    console::tell(&format!("guestbook: {refusal}"));
    ExitCode::from(REFUSED)
}

fn form(format: LogFormat) -> Form {
    match format {
        LogFormat::Text => Form::Text,
        LogFormat::Json => Form::Json,
    }
}

/// Where both stores are, from flags and defaults.
struct StoreUrls {
    database: DatabaseUrl,
    cache: CacheUrl,
}

impl StoreUrls {
    fn of(cli: &Cli) -> Result<Self, CliError> {
        let stores = &cli.stores;
        if stores.database_url.is_none() || stores.cache_url.is_none() {
            let folder = require_folder("--data-dir", &stores.data_dir);
            folder.map_err(|error| error.context().to_owned())?;
        }
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
    fn require_tables(&self) -> Result<(), CliError> {
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
    fn lock(&self) -> Result<Option<DataDir>, data_dir::LockError> {
        let cache = || self.cache.folder().map(Path::to_owned);
        let folder = self.database.lock_folder().or_else(cache);
        folder.as_deref().map(DataDir::lock).transpose()
    }

    /// Opens both stores and the embedder.
    async fn open(&self, cli: &Cli, purpose: OpenMode) -> Result<ServiceParts, CliError> {
        let told = GivenSettings::of(cli, self).await?;
        let parts = self.open_as(cli, purpose, &told).await?;
        if purpose == OpenMode::Serve {
            told.note_embedder(&parts).await?;
        }
        Ok(parts)
    }

    /// As [`Self::open`], with these settings.
    async fn open_as(
        &self,
        cli: &Cli,
        purpose: OpenMode,
        told: &GivenSettings,
    ) -> Result<ServiceParts, CliError> {
        let embedder = told.open_embedder()?;
        let model = embedder.as_ref().map(|embedder| embedder.model().clone());
        let database = self.open_database(cli, purpose, told, model).await?;
        let lists = match purpose {
            OpenMode::Serve => lists_of(&self.cache, &database).await,
            OpenMode::Inspect => lists(&self.cache).await,
        };
        let lists = lists.map_err(refusal)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(ServiceParts {
            database,
            lists,
            embedder,
            clock,
        })
    }

    async fn open_database(
        &self,
        cli: &Cli,
        purpose: OpenMode,
        told: &GivenSettings,
        model: Option<ModelId>,
    ) -> Result<Stores, CliError> {
        let settings = TableSettings {
            list_ttl: told.list_ttl,
            retention: told.retention,
            model,
            cache_backend: self.cache.backend(),
            text_index: told.text_index,
        };
        let access = OpenOptions {
            connections: cli.stores.database_connections,
            durability: cli.stores.durability.unwrap_or_default(),
        };
        let opened = crate::open::database(&self.database, access, settings, purpose).await;
        opened.map_err(refusal)
    }
}

/// A conflict of settings says what to do; other failures say what failed.
fn refusal(error: Error) -> CliError {
    match error.backend() {
        "settings" => error.context().to_owned(),
        _ => error.to_string(),
    }
}

/// Only the embedded database is set here: elsewhere the flag would be a promise that nobody keeps.
fn require_file_for_durability(
    asked: Option<Durability>,
    database: &DatabaseUrl,
) -> Result<(), CliError> {
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
