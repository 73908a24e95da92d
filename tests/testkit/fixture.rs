//! The pairs of stores that the suite runs on. Each fixture is (guard, stores): dropping the guard cleans up.
//!
//! To add a pair: an `open_…` function here, and one line at the end of main.rs.

#[cfg(any(feature = "postgres", feature = "redis"))]
use crate::servers;
#[cfg(feature = "redis")]
use guestbook::open::{CacheUrl, lists};
#[cfg(feature = "postgres")]
use guestbook::postgres::{PostgresDatabase, PostgresUrl};
use guestbook::sled::SledLists;
use guestbook::sqlite::SqliteDatabase;
use guestbook::storage::database::TableSettings;
use guestbook::storage::memory::{MemoryDatabase, MemoryLists};
use guestbook::storage::{ListCache, Stores};
pub use guestbook_storage_contract::Fixture;
use std::any::Any;
use std::path::Path;
use std::sync::Arc;

/// Whatever must live as long as the stores and cleans up after them: a directory, a server.
pub type Guard = Box<dyn Any + Send>;

/// Both stores in memory.
pub async fn open_memory(settings: TableSettings) -> (Guard, Fixture) {
    let fixture = Fixture {
        database: Stores::of(Arc::new(MemoryDatabase::new(settings))),
        lists: Arc::new(MemoryLists::new()),
        lists_expire_themselves: false,
    };
    (Box::new(()), fixture)
}

/// The embedded default, in a temporary folder.
pub async fn open_sqlite_sled(settings: TableSettings) -> (Guard, Fixture) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fixture = Fixture {
        database: sqlite(folder.path(), settings),
        lists: sled(folder.path()),
        lists_expire_themselves: false,
    };
    (Box::new(folder), fixture)
}

/// The tables in a file, the lists on a Redis server of their own.
#[cfg(feature = "redis")]
pub async fn open_sqlite_redis(settings: TableSettings) -> (Guard, Fixture) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, lists) = redis().await;
    let fixture = Fixture {
        database: sqlite(folder.path(), settings),
        lists,
        lists_expire_themselves: true,
    };
    (Box::new((folder, server)), fixture)
}

/// The tables on PostgreSQL, the lists in a folder: a node on a database server that has no Redis beside it.
#[cfg(feature = "postgres")]
pub async fn open_postgres_sled(settings: TableSettings) -> (Guard, Fixture) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, database) = postgres(settings).await;
    let fixture = Fixture {
        database,
        lists: sled(folder.path()),
        lists_expire_themselves: false,
    };
    (Box::new((folder, server)), fixture)
}

/// Both on servers, as several nodes share them.
#[cfg(all(feature = "postgres", feature = "redis"))]
pub async fn open_postgres_redis(settings: TableSettings) -> (Guard, Fixture) {
    let (database_server, database) = postgres(settings).await;
    let (list_server, lists) = redis().await;
    let fixture = Fixture {
        database,
        lists,
        lists_expire_themselves: true,
    };
    (Box::new((database_server, list_server)), fixture)
}

fn sqlite(folder: &Path, settings: TableSettings) -> Stores {
    let database = SqliteDatabase::open(&folder.join("guestbook.db"), settings);
    Stores::of(Arc::new(database.expect("a new database")))
}

fn sled(folder: &Path) -> Arc<dyn ListCache> {
    Arc::new(SledLists::open(&folder.join("lists")).expect("new lists"))
}

/// Connections of one fixture: more than one, so that writers really meet, and few, because many fixtures run at once.
#[cfg(feature = "postgres")]
const CONNECTIONS: usize = 6;

/// A database of its own on the server that all tests share.
#[cfg(feature = "postgres")]
async fn postgres(settings: TableSettings) -> (servers::SharedDatabase, Stores) {
    let (server, url) = servers::shared_postgres().await;
    let url = PostgresUrl::parse(&url).expect("the URL of the test server");
    let database = PostgresDatabase::open(&url, CONNECTIONS, settings).await;
    (
        server,
        Stores::of(Arc::new(database.expect("a new database"))),
    )
}

/// A server of its own: the keys are the contract's, so two fixtures cannot share one.
#[cfg(feature = "redis")]
async fn redis() -> (servers::Redis, Arc<dyn ListCache>) {
    let server = servers::Redis::start().await;
    let url = CacheUrl::parse(&server.url()).expect("the URL of the test server");
    (server, lists(&url).await.expect("new lists"))
}
