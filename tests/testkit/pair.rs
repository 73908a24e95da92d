//! A pair of stores of its own, and servers of ours on it.

use crate::client::Client;
use crate::oracle::{OnDisk, Stores, sessions};
use crate::process::{Log, Place, Running, finish, stderr, stdout};
use crate::servers::{Postgres, PostgresOptions, Redis, RedisOptions};
use async_trait::async_trait;
use serde_json::Value;
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, PoisonError};

/// Where the tables are.
#[derive(Debug)]
pub enum Tables {
    /// In the data folder.
    Sqlite,
    Postgres {
        server: Postgres,
        database: String,
    },
}

/// Where the lists are.
#[derive(Debug)]
pub enum Lists {
    /// In the data folder.
    Sled,
    Redis(Redis),
}

/// Two stores and a data folder.
#[derive(Debug)]
pub struct Pair {
    pub place: Place,
    pub tables: Tables,
    pub lists: Lists,
    /// Settings of every command on these stores.
    pub settings: Vec<&'static str>,
    /// What becomes of the logs of servers.
    pub log: Log,
    /// The server that runs now.
    asked: Mutex<Option<Client>>,
}

impl Pair {
    pub async fn sqlite_sled() -> Self {
        Self::of(Tables::Sqlite, Lists::Sled)
    }

    pub async fn sqlite_redis() -> Self {
        Self::of(Tables::Sqlite, a_redis().await)
    }

    pub async fn postgres_sled() -> Self {
        Self::of(a_postgres().await, Lists::Sled)
    }

    pub async fn postgres_redis() -> Self {
        let (tables, lists) = tokio::join!(a_postgres(), a_redis());
        Self::of(tables, lists)
    }

    /// Empty stores again, on the same servers.
    pub async fn renew(&mut self) {
        self.place = Place::new();
        if let Tables::Postgres { server, database } = &mut self.tables {
            *database = server.create_database().await;
        }
        self.empty_lists().await;
    }

    /// Takes every list away, while no server runs.
    pub async fn empty_lists(&self) {
        match &self.lists {
            Lists::Sled => {
                let lists = self.place.data().join("lists");
                if lists.exists() {
                    std::fs::remove_dir_all(lists).unwrap();
                }
            }
            Lists::Redis(server) => drop(server.command(&["FLUSHALL"]).await),
        }
    }

    pub fn of(tables: Tables, lists: Lists) -> Self {
        Self {
            place: Place::new(),
            tables,
            lists,
            settings: Vec::new(),
            log: Log::Read,
            asked: Mutex::default(),
        }
    }

    /// Whether several nodes may use these stores, so that what is stored of the settings holds for all.
    #[allow(dead_code)] // not every suite asks
    pub fn is_shared(&self) -> bool {
        matches!(self.tables, Tables::Postgres { .. }) || self.has_common_lists()
    }

    #[allow(dead_code)] // as above
    pub fn has_common_lists(&self) -> bool {
        matches!(self.lists, Lists::Redis(_))
    }

    /// A command on these stores.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        command.args(&self.settings);
        if let Tables::Postgres { server, database } = &self.tables {
            command.args(["--database-url", &server.url(database)]);
        }
        if let Lists::Redis(server) = &self.lists {
            command.args(["--cache-url", &server.url()]);
        }
        command
    }

    /// Starts a server.
    pub fn serve(&self) -> Running {
        self.start(self.command(&["--listen", "127.0.0.1:0"]))
    }

    /// Starts a server by this command.
    pub fn start(&self, command: Command) -> Running {
        self.try_start(command)
            .unwrap_or_else(|(status, log)| panic!("no banner, {status}: {log}"))
    }

    /// As [`Self::start`]; how a process ended that never served, and what it logged.
    pub fn try_start(&self, command: Command) -> Result<Running, (ExitStatus, String)> {
        let starting = || Running::try_start_logging(command, self.log);
        let running = tokio::task::block_in_place(starting)?;
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(running.client.clone());
        Ok(running)
    }

    fn client(&self) -> Client {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone().expect("a server that was started")
    }
}

#[async_trait]
impl Stores for Pair {
    async fn query(&self, sql: &str) -> Vec<Vec<String>> {
        match &self.tables {
            Tables::Sqlite => {
                OnDisk::at(&self.place.data(), &self.client())
                    .query(sql)
                    .await
            }
            Tables::Postgres { server, database } => server.rows(database, sql).await,
        }
    }

    fn list_store(&self) -> &'static str {
        match self.lists {
            Lists::Sled => "sled",
            Lists::Redis(_) => "redis",
        }
    }

    async fn lists(&self, guests: &[String]) -> Vec<Vec<Value>> {
        match &self.lists {
            Lists::Sled => sessions(&self.client(), guests, "sled").await,
            Lists::Redis(server) => server.lists(guests).await,
        }
    }

    async fn listed_guests(&self) -> Vec<String> {
        match &self.lists {
            Lists::Sled => Vec::new(), // only `guestbook verify` can tell of a list too many
            Lists::Redis(server) => server.listed_guests().await,
        }
    }

    async fn verify(&self) -> (i32, String) {
        let command = self.command(&["verify"]);
        let output = tokio::task::block_in_place(|| finish(command));
        let said = format!("{}{}", stdout(&output), stderr(&output));
        (output.status.code().unwrap(), said)
    }
}

async fn a_postgres() -> Tables {
    let server = Postgres::start_with(PostgresOptions::default()).await;
    let database = server.create_database().await;
    Tables::Postgres { server, database }
}

async fn a_redis() -> Lists {
    Lists::Redis(Redis::start_with(RedisOptions::default()).await)
}
