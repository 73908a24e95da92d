//! Where the stores of a sequence are, so that they can be opened again.

use guestbook::core::error::Result;
use guestbook::open::{self, CacheUrl, DatabaseUrl, OpenMode, OpenOptions};
use guestbook::storage::database::TableSettings;
use guestbook::storage::{Durability, ListCache, Stores};
#[cfg(any(feature = "postgres", feature = "redis"))]
use guestbook_testkit::servers;
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long stores may be held by a process that died, whose threads and connections let go in their own time.
const LETTING_GO: Duration = Duration::from_secs(20);
const ACCESS: OpenOptions = OpenOptions {
    connections: 4,
    durability: Durability::Full,
};

/// Which pair.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    SqliteSled,
    #[cfg(feature = "redis")]
    SqliteRedis,
    #[cfg(feature = "postgres")]
    PostgresSled,
    #[cfg(all(feature = "postgres", feature = "redis"))]
    PostgresRedis,
}

/// Two stores, by URL, and what keeps them there.
pub(crate) struct Place {
    database: DatabaseUrl,
    lists: CacheUrl,
    _guards: Vec<Box<dyn Any + Send>>,
}

impl Place {
    pub(crate) fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}", folder.path().join("guestbook.db").display());
        let tree = format!("sled:{}", folder.path().join("lists").display());
        let mut guards: Vec<Box<dyn Any + Send>> = Vec::new();
        let (database, lists) = match kind {
            Kind::SqliteSled => (file, tree),
            #[cfg(feature = "redis")]
            Kind::SqliteRedis => (file, redis(&mut guards)),
            #[cfg(feature = "postgres")]
            Kind::PostgresSled => (postgres(&mut guards), tree),
            #[cfg(all(feature = "postgres", feature = "redis"))]
            Kind::PostgresRedis => (postgres(&mut guards), redis(&mut guards)),
        };
        guards.push(Box::new(folder));
        Self {
            database: DatabaseUrl::parse(&database).unwrap(),
            lists: CacheUrl::parse(&lists).unwrap(),
            _guards: guards,
        }
    }

    /// Opens both, once nobody holds them any more.
    pub(crate) async fn open(&self, tables: TableSettings) -> (Stores, Arc<dyn ListCache>) {
        let deadline = Instant::now() + LETTING_GO;
        loop {
            match self.try_open(tables.clone()).await {
                Ok(stores) => return stores,
                Err(cause) if Instant::now() > deadline => panic!("{cause}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }

    async fn try_open(&self, tables: TableSettings) -> Result<(Stores, Arc<dyn ListCache>)> {
        let database = open::database(&self.database, ACCESS, tables, OpenMode::Serve).await?;
        Ok((database, open::lists(&self.lists).await?))
    }
}

/// Does what needs a runtime, where there is none yet.
#[cfg(any(feature = "postgres", feature = "redis"))]
fn now<T>(starting: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(starting)
}

#[cfg(feature = "postgres")]
fn postgres(guards: &mut Vec<Box<dyn Any + Send>>) -> String {
    let (database, url) = now(servers::shared_postgres());
    guards.push(Box::new(database));
    url
}

#[cfg(feature = "redis")]
fn redis(guards: &mut Vec<Box<dyn Any + Send>>) -> String {
    let server = now(servers::Redis::start());
    let url = server.url();
    guards.push(Box::new(server));
    url
}
