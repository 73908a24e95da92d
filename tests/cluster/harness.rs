//! Two servers, and nodes on them.

use async_trait::async_trait;
use guestbook_testkit::oracle::Stores;
use guestbook_testkit::process::{Running, finish, guestbook, stderr, stdout};
use guestbook_testkit::servers::{Postgres, PostgresOptions, Redis, RedisOptions};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A PostgreSQL and a Redis that nobody else uses.
#[derive(Debug)]
pub(crate) struct ClusterHarness {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    pub(crate) database: String,
    folder: TempDir,
}

impl ClusterHarness {
    /// With a PostgreSQL that keeps what it acknowledged.
    pub(crate) async fn durable() -> Self {
        Self::start(PostgresOptions::default(), RedisOptions::default()).await
    }

    /// With a PostgreSQL that waits for no disk.
    pub(crate) async fn fast() -> Self {
        Self::start(PostgresOptions::fast(), RedisOptions::default()).await
    }

    pub(crate) async fn start(postgres: PostgresOptions, redis: RedisOptions) -> Self {
        let (postgres, redis) =
            tokio::join!(Postgres::start_with(postgres), Redis::start_with(redis));
        let database = postgres.create_database().await;
        Self {
            postgres,
            redis,
            database,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn database_url(&self) -> String {
        self.postgres.url(&self.database)
    }

    /// A node straight on both servers.
    pub(crate) fn node(&self) -> Running {
        self.node_at(&self.database_url(), &self.redis.url())
    }

    /// A node that reaches its servers in these ways.
    pub(crate) fn node_at(&self, database_url: &str, cache_url: &str) -> Running {
        let command = self.command("serve", database_url, cache_url);
        tokio::task::block_in_place(|| Running::start(command))
    }

    pub(crate) fn command(&self, what: &str, database_url: &str, cache_url: &str) -> Command {
        let mut command = guestbook(&[what, "--listen", "127.0.0.1:0"]);
        command.args(["--database-url", database_url, "--cache-url", cache_url]);
        command.current_dir(self.folder.path());
        command
    }

    pub(crate) async fn psql(&self, sql: &str) -> String {
        self.postgres.psql(&self.database, sql).await
    }
}

#[async_trait]
impl Stores for ClusterHarness {
    async fn query(&self, sql: &str) -> Vec<Vec<String>> {
        self.postgres.rows(&self.database, sql).await
    }

    fn list_store(&self) -> &'static str {
        "redis"
    }

    async fn lists(&self, guests: &[String]) -> Vec<Vec<Value>> {
        self.redis.lists(guests).await
    }

    async fn listed_guests(&self) -> Vec<String> {
        self.redis.listed_guests().await
    }

    async fn verify(&self) -> (i32, String) {
        let command = self.command("verify", &self.database_url(), &self.redis.url());
        let output = tokio::task::block_in_place(|| finish(command));
        let said = format!("{}{}", stdout(&output), stderr(&output));
        (output.status.code().unwrap(), said)
    }
}

/// Stops a node as a service manager does; what it logged.
pub(crate) fn stopped(node: Running) -> String {
    node.signal("TERM");
    let (status, log) = tokio::task::block_in_place(|| node.ended());
    assert_eq!(status.code(), Some(0), "{log}");
    log
}

/// Prints a figure of a run.
pub(crate) fn figure(what: &str, took: Duration) {
    println!("figure: {what}: {took:.2?}");
}
