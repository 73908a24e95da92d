//! Every setting of the binary: a flag, an environment variable, a default and its unit.

mod bench;
mod embedding;
mod origins;
mod prompts;
mod ranges;
mod reading;
mod renamed;
mod search;

pub use bench::BenchArgs;
pub use embedding::{EmbeddingArgs, SearchIndex, TextIndex};
pub use origins::Origins;
pub use prompts::PromptArgs;
pub use search::SearchArgs;

use crate::console::LogFilter;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use guestbook_core::Ttl;
use guestbook_core::api_key::ApiKey;
use guestbook_http::{HttpSettings, Listen};
use guestbook_service::Settings;
use guestbook_storage::Durability;
pub(crate) use ranges::duration;
use ranges::{BYTES, CONNECTIONS, QUEUE, count};
use std::path::PathBuf;
use std::time::Duration;

/// What is read from the environment alone.
const SECRETS: &str = "Environment only, so that no process list shows it:
  GUESTBOOK_EMBEDDER_KEY, OPENAI_API_KEY  API key of an openai: embedder; the first that is set [default: none]";

/// Keeps the chats of a product's guests: every message in every place it belongs, or a loud reason why not.
#[derive(Clone, Debug, Parser)]
#[command(name = "guestbook", version = version(), max_term_width = 110, after_help = SECRETS)]
pub struct Cli {
    /// What to do; without one, `serve`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where the data is.
    #[command(flatten)]
    pub stores: StoreArgs,
    /// Where vectors come from.
    #[command(flatten)]
    pub embedding: EmbeddingArgs,
    /// Which answers to prompts are kept.
    #[command(flatten)]
    pub prompts: PromptArgs,
    /// How to serve.
    #[command(flatten)]
    pub serving: ServeArgs,
    /// What to log.
    #[command(flatten)]
    pub logging: LogArgs,
    /// Which settings were read from the environment.
    #[arg(skip)]
    pub origins: Origins,
}

/// What the binary can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve HTTP (the default)
    Serve,
    /// Recount every store against every other one; exit 0: all well, 1: something is missing, 2: could not look
    Verify {
        /// Only this guest
        #[arg(long, value_name = "ID")]
        guest: Option<String>,
        /// Rebuild what is derived: lists, counters, mappings, missing vectors
        #[arg(long)]
        repair: bool,
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Find messages of a guest, a user or everyone by meaning or by words, also while a server is using the tables; exit 0: found, 1: nothing found, 2: could not look
    Search(SearchArgs),
    /// Compute every vector that is missing or of another model; can be interrupted and run again
    Reembed,
    /// The settings that are stored with the data, and hold for every node
    Settings {
        /// What to do; without it, they are printed
        #[command(subcommand)]
        action: Option<SettingsAction>,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// The prompt cache: its statistics, and removing entries
    Cache {
        /// What to do
        #[command(subcommand)]
        action: CacheAction,
    },
    /// Copy the SQLite tables to one new file, also while a server is using them
    Backup {
        /// The file to make
        path: PathBuf,
    },
    /// Make the SQLite tables of a data folder without a database from a backup; the lists are rebuilt at the next start
    Restore {
        /// The backup, which is only read
        path: PathBuf,
    },
    /// Measure pairs of stores with the same workload in one run; touches no data that is there
    Bench(Box<BenchArgs>),
    /// Run one read-only SQL statement on the tables, also while a server is using them
    Sql {
        /// The statement, e.g. "SELECT count(*) FROM message_cache"
        statement: String,
    },
}

/// What can be done with the stored settings.
#[derive(Clone, Debug, Subcommand)]
pub enum SettingsAction {
    /// Change one for all nodes, which know it within a second
    Set {
        /// list-ttl, retention, text-index or embedder
        name: SettingName,
        /// As after the flag of that name
        value: String,
    },
}

/// A setting that is stored with the data.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum SettingName {
    /// How long a guest's list lives after its last message.
    ListTtl,
    /// How long a guest's chat is kept after its last message, or off.
    Retention,
    /// Whether the words of all messages are kept in an index: on, off.
    TextIndex,
    /// Where vectors come from.
    Embedder,
}

/// What can be done with the answers to prompts.
#[derive(Clone, Debug, Subcommand)]
pub enum CacheAction {
    /// Print what is kept, and what it has saved
    Stats {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what is kept
    Clear {
        /// Only this scope: guest:ID or tenant:NAME
        #[arg(long, value_name = "SCOPE")]
        scope: Option<String>,
    },
}

/// Where the data is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Storage")]
pub struct StoreArgs {
    /// Folder of the SQLite file and the lists
    #[arg(
        long,
        global = true,
        env = "GUESTBOOK_DATA_DIR",
        default_value = "./guestbook-data",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
    /// The tables: sqlite:PATH, postgres://… (feature postgres), memory: [default: sqlite:DATA_DIR/guestbook.db]
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: Option<String>,
    /// Connections to a PostgreSQL server at most
    #[arg(long, global = true, env = "GUESTBOOK_DATABASE_CONNECTIONS", default_value_t = 24, value_name = "N", value_parser = count::<usize>(CONNECTIONS))]
    pub database_connections: usize,
    /// The expiring lists: sled:PATH, redis://…, rediss://…, redis+cluster://…, redis+unix:///PATH (feature redis), memory: [default: sled:DATA_DIR/lists] [env: CACHE_URL, REDIS_URL]
    #[arg(
        long,
        global = true,
        env = "CACHE_URL",
        hide_env = true,
        hide_env_values = true,
        value_name = "URL"
    )]
    pub cache_url: Option<String>,
    /// What a commit to the SQLite file outlives: full (a power cut), normal (a killed process; a power cut may take the last moments). A PostgreSQL server has settings of its own [default: full]
    #[arg(long, global = true, env = "GUESTBOOK_DURABILITY", value_parser = durability(), value_name = "LEVEL")]
    pub durability: Option<Durability>,
    /// How long a guest's list lives after its last message; on PostgreSQL or Redis it is stored for all nodes, and without this flag what is stored holds [default: 24h]
    #[arg(long, global = true, env = "GUESTBOOK_LIST_TTL", value_parser = duration, value_name = "TIME")]
    pub list_ttl: Option<Duration>,
    /// How long a guest's chat is kept after its last message, or off; stored as --list-ttl is [default: off]
    #[arg(long, global = true, env = "GUESTBOOK_RETENTION", value_parser = retention, value_name = "TIME")]
    pub retention: Option<Retention>,
    /// How often expired lists and chats are removed
    #[arg(long, global = true, env = "GUESTBOOK_SWEEP_INTERVAL", default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub sweep_interval: Duration,
}

/// How to serve.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Serving")]
pub struct ServeArgs {
    /// Where to listen, one or several with commas: ADDRESS:PORT, NAME:PORT (all addresses of the name), :PORT (all of this machine), unix:PATH (only its owner may connect); beyond loopback an API key is required. Sockets of a service manager (LISTEN_FDS) take its place
    #[arg(
        long,
        global = true,
        env = "GUESTBOOK_LISTEN",
        default_value = "127.0.0.1:8000",
        value_delimiter = ',',
        value_name = "WHERE"
    )]
    pub listen: Vec<Listen>,
    /// Key that requests must carry as `Authorization: Bearer KEY` [default: none]
    #[arg(
        long,
        global = true,
        env = "GUESTBOOK_API_KEY",
        hide_env_values = true,
        value_parser = reading::api_key(),
        value_name = "KEY"
    )]
    pub api_key: Option<ApiKey>,
    /// Bytes of a request body at most
    #[arg(long, global = true, env = "GUESTBOOK_BODY_LIMIT", default_value_t = 8 << 20, value_name = "BYTES", value_parser = count::<usize>(BYTES))]
    pub body_limit: usize,
    /// Bytes of all request bodies at most that are being read or worked on at once, never less than --body-limit; more are turned away with 503
    #[arg(long, global = true, alias = "bodies-limit", env = "GUESTBOOK_BODY_MEMORY", default_value_t = 64 << 20, value_name = "BYTES", value_parser = count::<usize>(BYTES))]
    pub body_memory: usize,
    /// Bytes of all responses above 64 KiB at most that are on their way at once; more wait, then are turned away with 503
    #[arg(long, global = true, alias = "answers-limit", env = "GUESTBOOK_RESPONSE_MEMORY", default_value_t = 64 << 20, value_name = "BYTES", value_parser = count::<usize>(BYTES))]
    pub response_memory: usize,
    /// Bytes of one message's content at most
    #[arg(
        long,
        global = true,
        env = "GUESTBOOK_CONTENT_LIMIT",
        default_value_t = 65_536,
        value_name = "BYTES",
        value_parser = count::<usize>(BYTES)
    )]
    pub content_limit: usize,
    /// How long the head of a request may take to arrive, from its first byte on; of the first one, from the beginning of the connection
    #[arg(long, global = true, env = "GUESTBOOK_HEADER_TIMEOUT", default_value = "15s", value_parser = duration, value_name = "TIME")]
    pub header_timeout: Duration,
    /// How long a connection kept alive may wait for its next request; longer than a proxy keeps one (often 60 s), or that one's next request may be lost
    #[arg(long, global = true, env = "GUESTBOOK_IDLE_TIMEOUT", default_value = "75s", value_parser = duration, value_name = "TIME")]
    pub idle_timeout: Duration,
    /// How long a body may take to arrive, and how long a client may take nothing of its answer
    #[arg(long, global = true, env = "GUESTBOOK_BODY_TIMEOUT", default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub body_timeout: Duration,
    /// How long an answer may take; the client of a write is then told that its outcome is not known
    #[arg(long, global = true, env = "GUESTBOOK_REQUEST_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub request_timeout: Duration,
    /// Messages that may wait to be committed; more are turned away with 503
    #[arg(long, global = true, alias = "queue", env = "GUESTBOOK_WRITE_QUEUE", default_value_t = 4096, value_name = "N", value_parser = count::<usize>(QUEUE))]
    pub write_queue: usize,
}

/// What to log.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// Form of the log on standard error
    #[arg(
        long,
        global = true,
        env = "GUESTBOOK_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
    /// What to log: error, warn, info, debug, trace or off, and the same per module such as info,guestbook_service=debug
    #[arg(long, global = true, env = "GUESTBOOK_LOG", default_value = LogFilter::DEFAULT, value_parser = LogFilter::parse, value_name = "FILTER")]
    pub log: LogFilter,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// How long a guest's chat is kept after its last message; `None` is for ever.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retention(pub Option<Duration>);

impl StoreArgs {
    /// How long the list of a guest who says something now lives, where nothing else is stored.
    pub fn list_ttl(&self) -> Ttl {
        self.list_ttl.map_or(Ttl::DEFAULT, Ttl)
    }
}

impl Cli {
    /// The settings of the service.
    pub fn service_settings(&self) -> Settings {
        Settings {
            queue: self.serving.write_queue,
            sweep_interval: self.stores.sweep_interval,
            embed_attempts: self.embedding.embedder_attempts,
            indexing: self.embedding.search_index.into(),
            prompt_ttl: self.prompts.prompt_cache_ttl,
            prompt_bytes: self.prompts.prompt_cache_size as u64,
            ..Settings::default()
        }
    }

    /// The settings of the HTTP side.
    pub fn http_settings(&self) -> HttpSettings {
        let serving = &self.serving;
        HttpSettings {
            api_key: serving.api_key.clone(),
            body_limit: serving.body_limit,
            body_memory: serving.body_memory,
            response_memory: serving.response_memory,
            content_limit: serving.content_limit,
            header_timeout: serving.header_timeout,
            idle_timeout: serving.idle_timeout,
            body_timeout: serving.body_timeout,
            request_timeout: serving.request_timeout,
            log_dropped: crate::console::dropped,
            ..HttpSettings::default()
        }
    }
}

fn durability() -> impl TypedValueParser<Value = Durability> {
    PossibleValuesParser::new(["full", "normal"]).map(|word| match word.as_str() {
        "normal" => Durability::Normal,
        _ => Durability::Full,
    })
}

/// Reads a `--retention`.
pub(crate) fn retention(text: &str) -> Result<Retention, String> {
    match text {
        "off" => Ok(Retention(None)),
        _ => duration(text).map(|span| Retention(Some(span))),
    }
}

fn version() -> &'static str {
    macro_rules! version {
        ($stores:literal) => {
            match cfg!(feature = "failpoints") {
                true => version!($stores, "; for tests: failpoints"),
                false => version!($stores, ""),
            }
        };
        ($stores:literal, $more:literal) => {
            concat!(
                env!("CARGO_PKG_VERSION"),
                " (stores: ",
                $stores,
                ", memory; embedders: static, minilm, openai",
                $more,
                ")"
            )
        };
    }
    match (cfg!(feature = "postgres"), cfg!(feature = "redis")) {
        (false, false) => version!("sqlite, sled"),
        (true, false) => version!("sqlite, postgres, sled"),
        (false, true) => version!("sqlite, sled, redis"),
        (true, true) => version!("sqlite, postgres, sled, redis"),
    }
}
