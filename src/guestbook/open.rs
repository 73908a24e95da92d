//! From a URL to a backend: the only place that knows all of them.

use guestbook_core::error::{Error, ErrorKind, Result};
#[cfg(feature = "postgres")]
use guestbook_postgres::{PostgresDatabase, PostgresUrl};
#[cfg(feature = "redis")]
use guestbook_redis::{RedisLists, RedisUrl};
use guestbook_sled::SledLists;
use guestbook_sqlite::{self as sqlite, SqliteDatabase};
use guestbook_storage::database::{StoredSettings, TableSettings};
use guestbook_storage::memory::{MemoryDatabase, MemoryLists};
use guestbook_storage::{Durability, ListCache, RowSink, Stores, path};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use guestbook_sqlite::{CopyObserver, CopyProgress, CopySummary, StopFlag};
pub use guestbook_storage::path::require_folder;
pub use guestbook_storage::private::make_files_private;

/// Where the tables are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DatabaseUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A database on a PostgreSQL server.
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresUrl>),
    /// Nowhere: gone when the process ends.
    Memory,
}

/// Where the lists are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CacheUrl {
    /// A sled directory.
    Sled(PathBuf),
    /// A Redis server or cluster.
    #[cfg(feature = "redis")]
    Redis(RedisUrl),
    /// Nowhere: gone when the process ends.
    Memory,
}

#[cfg(feature = "postgres")]
const DATABASES: &str = "sqlite:PATH, postgres://…, memory:";
#[cfg(not(feature = "postgres"))]
const DATABASES: &str = "sqlite:PATH, memory:";

/// Backends that exist and the feature that brings each, whether it is in this build or not.
const FEATURES: [(&str, &str); 8] = [
    ("postgres", "postgres"),
    ("postgresql", "postgres"),
    ("redis", "redis"),
    ("rediss", "redis"),
    ("redis+cluster", "redis"),
    ("rediss+cluster", "redis"),
    ("redis+unix", "redis"),
    ("unix", "redis"),
];

/// What a `--cache-url` of this build can be.
const CACHES: &str = match cfg!(feature = "redis") {
    true => {
        "sled:PATH, redis://HOST, rediss://HOST, redis+cluster://HOST,HOST, redis+unix:///PATH, memory:"
    }
    false => "sled:PATH, memory:",
};

impl DatabaseUrl {
    /// Reads a `--database-url`.
    ///
    /// # Errors
    /// `Unsupported` for a scheme of another build, `Invalid` for an unknown one; never repeats what follows the scheme,
    /// which may hold a password.
    pub fn parse(text: &str) -> Result<Self> {
        match split(text) {
            ("sqlite", path) => {
                path::after_scheme("--database-url", "sqlite", path)?;
                Ok(Self::Sqlite(path.into()))
            }
            ("memory", "") => Ok(Self::Memory),
            #[cfg(feature = "postgres")]
            ("postgres" | "postgresql", _) => Ok(Self::Postgres(PostgresUrl::parse(text)?.into())),
            (scheme, _) => Err(unknown("--database-url", scheme, DATABASES)),
        }
    }

    /// The name that tables show of it.
    pub fn backend(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "postgresql",
            Self::Memory => "memory",
        }
    }

    /// The folder that it is in, as it was named, if any.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => path.parent(),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => None,
            Self::Memory => None,
        }
    }

    /// The folder that must belong to one process, if any: the one that the file is in, wherever links lead.
    pub fn lock_folder(&self) -> Option<PathBuf> {
        match self {
            Self::Sqlite(path) => {
                let real = path.canonicalize();
                let file = real.as_ref().unwrap_or(path);
                Some(path::parent(file).to_owned())
            }
            _ => None,
        }
    }
}

impl CacheUrl {
    /// Reads a `--cache-url`.
    ///
    /// # Errors
    /// As [`DatabaseUrl::parse`].
    pub fn parse(text: &str) -> Result<Self> {
        match split(text) {
            ("sled", path) => {
                path::after_scheme("--cache-url", "sled", path)?;
                Ok(Self::Sled(path.into()))
            }
            ("memory", "") => Ok(Self::Memory),
            (scheme, rest) => match networked(scheme, rest) {
                Some(url) => url,
                None => Err(unknown("--cache-url", scheme, CACHES)),
            },
        }
    }

    /// The name that tables show of it.
    pub fn backend(&self) -> &'static str {
        match self {
            Self::Sled(_) => "sled",
            #[cfg(feature = "redis")]
            Self::Redis(_) => "redis",
            Self::Memory => "memory",
        }
    }

    /// The folder that must belong to one process, if any.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Sled(path) => path.parent(),
            #[cfg(feature = "redis")]
            Self::Redis(_) => None,
            Self::Memory => None,
        }
    }
}

/// Whether other processes may use the same stores at the same time, so that what is stored holds for all of them.
pub fn are_shared(database: &DatabaseUrl, cache: &CacheUrl) -> bool {
    database.folder().is_none() && *database != DatabaseUrl::Memory || is_networked(cache)
}

/// Whether the list cache is on a server, where each node names the same lists.
pub fn is_networked(cache: &CacheUrl) -> bool {
    cache.folder().is_none() && *cache != CacheUrl::Memory
}

/// The settings that are stored with the tables, which are not changed, nor made where there are none.
///
/// # Errors
/// Those of the backend.
pub async fn stored_settings(url: &DatabaseUrl) -> Result<StoredSettings> {
    match url {
        DatabaseUrl::Sqlite(path) if path.exists() => sqlite::stored_settings(path),
        #[cfg(feature = "postgres")]
        DatabaseUrl::Postgres(url) => guestbook_postgres::stored_settings(url).await,
        DatabaseUrl::Sqlite(_) | DatabaseUrl::Memory => Ok(StoredSettings::default()),
    }
}

/// What tables are opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenMode {
    /// To serve with these settings, which then hold for what is stored already. On a server they are those of all nodes, and
    /// with others a node is refused.
    Serve,
    /// To look at what is stored, as it is.
    Inspect,
}

/// How tables are opened, beside what they have to know to write their rows.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Connections at most, where they are on a server.
    pub connections: usize,
    /// What a commit outlives, where they are in a file. A server has settings of its own.
    pub durability: Durability,
}

/// Opens the tables.
///
/// # Errors
/// Those of the backend.
pub async fn database(
    url: &DatabaseUrl,
    access: OpenOptions,
    settings: TableSettings,
    purpose: OpenMode,
) -> Result<Stores> {
    let _ = access.connections; // files have none
    Ok(match url {
        DatabaseUrl::Sqlite(path) => Stores::of(Arc::new(match purpose {
            OpenMode::Serve => SqliteDatabase::open_for(access.durability, path, settings)?,
            OpenMode::Inspect => SqliteDatabase::inspect(path, settings)?,
        })),
        #[cfg(feature = "postgres")]
        DatabaseUrl::Postgres(url) => Stores::of(Arc::new(match purpose {
            OpenMode::Serve => PostgresDatabase::join(url, access.connections, settings).await?,
            OpenMode::Inspect => {
                PostgresDatabase::inspect(url, access.connections, settings).await?
            }
        })),
        DatabaseUrl::Memory => Stores::of(Arc::new(MemoryDatabase::new(settings))),
    })
}

/// Opens the lists.
///
/// # Errors
/// Those of the backend. A damaged store is no error: it is set aside, and the lists are rebuilt from the tables. Nor is a
/// server that is down: the lists follow when it is back.
pub async fn lists(url: &CacheUrl) -> Result<Arc<dyn ListCache>> {
    Ok(match url {
        CacheUrl::Sled(path) => Arc::new(SledLists::open(path)?),
        #[cfg(feature = "redis")]
        CacheUrl::Redis(url) => Arc::new(RedisLists::new(url)?),
        CacheUrl::Memory => Arc::new(MemoryLists::new()),
    })
}

/// Opens the lists of these tables. A store in a folder that holds lists of other tables, and that these tables do not know, is
/// set aside for a while and an empty one begun: nobody knows what is in it.
///
/// # Errors
/// As [`lists`].
pub async fn lists_of(url: &CacheUrl, database: &Stores) -> Result<Arc<dyn ListCache>> {
    match url {
        CacheUrl::Sled(path) => {
            let known = database.outbox.lists_incarnation().await?;
            let epoch = database.outbox.epoch();
            Ok(Arc::new(SledLists::open_of(path, epoch, known)?))
        }
        url => lists(url).await,
    }
}

/// Runs one read-only statement on the tables, and hands over each row as it is found.
///
/// # Errors
/// `Unsupported` for tables that are not in a file, `Invalid` with the database's own words for a bad statement.
pub async fn query(url: &DatabaseUrl, statement: &str, sink: &mut dyn RowSink) -> Result<()> {
    match url {
        DatabaseUrl::Sqlite(path) => sqlite::query(path, statement, sink),
        #[cfg(feature = "postgres")]
        DatabaseUrl::Postgres(url) => guestbook_postgres::query(url, statement, sink).await,
        DatabaseUrl::Memory => {
            let context =
                "tables in memory belong to their process and cannot be queried from another";
            Err(Error::new(ErrorKind::Unsupported, "memory", "sql", context))
        }
    }
}

/// Copies the tables to one file that was not there before, also while a server is using them. Blocks until it is done.
///
/// # Errors
/// Those of the backend; `Unsupported` for tables that are not in a file. Nothing of `target` is left then.
pub fn save(url: &DatabaseUrl, target: &Path, watch: &mut CopyObserver) -> Result<CopySummary> {
    sqlite::save(file(url, "backup")?, target, watch)
}

/// Makes the tables, which must not be there, of such a file, as the beginning of another history: lists that know them are
/// rebuilt. Blocks until it is done.
///
/// # Errors
/// As [`save`]; there are no tables then, as before.
pub fn restore(url: &DatabaseUrl, backup: &Path, watch: &mut CopyObserver) -> Result<CopySummary> {
    sqlite::restore(backup, file(url, "restore")?, watch)
}

/// The file that the tables are in.
fn file<'a>(url: &'a DatabaseUrl, operation: &'static str) -> Result<&'a Path> {
    let context = match url {
        DatabaseUrl::Sqlite(path) => return Ok(path),
        #[cfg(feature = "postgres")]
        DatabaseUrl::Postgres(_) => {
            "the tables are on a PostgreSQL server: save them with pg_dump, and bring them back with pg_restore or psql; the \
             lists heal by themselves"
        }
        DatabaseUrl::Memory => {
            "tables in memory are gone when their process ends: there is nothing to copy, or to copy to"
        }
    };
    Err(Error::new(
        ErrorKind::Unsupported,
        url.backend(),
        operation,
        context,
    ))
}

#[cfg(feature = "postgres")]
pub use guestbook_postgres::{drop_scratch, make_scratch};

/// Makes an empty database for a measurement; its URL.
///
/// # Errors
/// Always: no server is in this build.
#[cfg(not(feature = "postgres"))]
pub async fn make_scratch(_: &str) -> Result<String> {
    Err(unknown("--database-url", "postgres", DATABASES))
}

/// Drops it.
///
/// # Errors
/// As [`make_scratch`].
#[cfg(not(feature = "postgres"))]
pub async fn drop_scratch(_: &str) -> Result<()> {
    Err(unknown("--database-url", "postgres", DATABASES))
}

/// The URL of a list store that is reached over a network.
#[cfg(feature = "redis")]
fn networked(scheme: &str, rest: &str) -> Option<Result<CacheUrl>> {
    Some(RedisUrl::parse(scheme, rest)?.map(CacheUrl::Redis))
}

#[cfg(not(feature = "redis"))]
fn networked(_: &str, _: &str) -> Option<Result<CacheUrl>> {
    None
}

fn split(url: &str) -> (&str, &str) {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    (scheme, rest.strip_prefix("//").unwrap_or(rest))
}

fn unknown(flag: &str, scheme: &str, known: &str) -> Error {
    let feature = FEATURES.iter().find(|(name, _)| *name == scheme);
    let (kind, context) = match feature {
        Some((_, feature)) => (
            ErrorKind::Unsupported,
            format!(
                "{flag}: {scheme}: is not in this build; it needs the feature `{feature}`. Here: {known}"
            ),
        ),
        None => (
            ErrorKind::Invalid,
            format!("{flag} is no URL this program knows; it can be {known}"),
        ),
    };
    Error::new(kind, "storage", "open", context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(feature = "postgres"))]
    #[test]
    fn a_url_of_another_build_names_its_feature_and_no_password() {
        let error = DatabaseUrl::parse("postgres://me:s3cret@host/db").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("feature `postgres`"), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn an_unknown_url_is_refused_without_its_password() {
        let error = CacheUrl::parse("memcached://me:s3cret@host").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn paths_are_taken_as_written() {
        let url = DatabaseUrl::parse("sqlite:///var/lib/g.db").unwrap();
        assert_eq!(url, DatabaseUrl::Sqlite("/var/lib/g.db".into()));
        assert_eq!(
            CacheUrl::parse("sled:lists").unwrap(),
            CacheUrl::Sled("lists".into())
        );
        assert_eq!(CacheUrl::parse("memory:").unwrap(), CacheUrl::Memory);
        assert!(DatabaseUrl::parse("sqlite:").is_err());
    }
}
