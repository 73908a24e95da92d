//! Two servers, and nodes on them.

use crate::process::{Running, finish, guestbook, stderr, stdout};
use crate::servers::{Postgres, PostgresOptions, Redis, RedisOptions};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A PostgreSQL and a Redis that nobody else uses.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    pub(crate) database: String,
    folder: TempDir,
}

/// A stored message with what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) platform: String,
    pub(crate) owner: String,
    pub(crate) conversation: String,
    pub(crate) id: String,
    pub(crate) sequence: u64,
    pub(crate) role: String,
    pub(crate) content: String,
    /// The content is what its hash says.
    pub(crate) is_whole: bool,
    pub(crate) is_synced: bool,
}

impl Rig {
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

    /// `guestbook verify` on the servers finds nothing wrong.
    pub(crate) fn assert_verified(&self) {
        let (code, said) = self.verify();
        assert_eq!(code, 0, "{said}");
    }

    /// Runs `guestbook verify`; its exit code and its words.
    pub(crate) fn verify(&self) -> (i32, String) {
        let command = self.command("verify", &self.database_url(), &self.redis.url());
        let output = tokio::task::block_in_place(|| finish(command));
        let said = format!("{}{}", stdout(&output), stderr(&output));
        (output.status.code().unwrap(), said)
    }

    pub(crate) async fn psql(&self, sql: &str) -> String {
        self.postgres.psql(&self.database, sql).await
    }

    /// Every message, by conversation and sequence.
    pub(crate) async fn rows(&self) -> Vec<Row> {
        let sql = "SELECT c.platform, c.user_id, c.id, m.id, m.sequence, m.role, coalesce(p.is_synced, false),
                m.message_hash = encode(sha256(convert_to(m.content, 'UTF8')), 'hex'), m.content
            FROM message_cache m JOIN conversation_cache c ON c.id = m.conversation_id
            LEFT JOIN cache_content_mapping p ON p.id = m.id ORDER BY c.id, m.sequence";
        self.psql(sql).await.lines().map(row).collect()
    }

    /// The raw lists of guests, in their order.
    pub(crate) async fn lists(&self, guests: &[String]) -> Vec<Vec<Value>> {
        let script = "local all = {}
            for i, key in ipairs(KEYS) do all[i] = cjson.encode(redis.call('LRANGE', key, 0, -1)) end
            return all";
        let count = guests.len().to_string();
        let keys: Vec<_> = guests
            .iter()
            .map(|guest| format!("guest:{guest}"))
            .collect();
        let mut words = vec!["EVAL", script, &count];
        words.extend(keys.iter().map(String::as_str));
        let told = self.redis.command(&words).await;
        let item = |item: &Value| serde_json::from_str(item.as_str().unwrap()).unwrap();
        let list =
            |line: &str| match serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")) {
                Value::Array(items) => items.iter().map(item).collect(),
                _ => Vec::new(), // Lua has one empty table for both
            };
        let lists: Vec<_> = told
            .lines()
            .filter(|line| !line.is_empty())
            .map(list)
            .collect();
        assert_eq!(lists.len(), guests.len(), "{told}");
        lists
    }

    /// The guests that have a list.
    pub(crate) async fn listed_guests(&self) -> Vec<String> {
        let keys = self.redis.command(&["KEYS", "guest:*"]).await;
        let guests = keys.lines().filter_map(|key| key.strip_prefix("guest:"));
        guests.map(str::to_owned).collect()
    }
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.splitn(9, '|').collect();
    let cell = |at: usize| cells[at].to_owned();
    Row {
        platform: cell(0),
        owner: cell(1),
        conversation: cell(2),
        id: cell(3),
        sequence: cells[4].parse().unwrap(),
        role: cell(5),
        is_synced: cells[6] == "t",
        is_whole: cells[7] == "t",
        content: cell(8),
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
