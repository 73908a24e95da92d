//! The expiring lists on a [Redis](https://redis.io) server or cluster: what other programs read at `guest:{id}`.
//!
//! Per guest there are two keys on the same node: the list, whose items are the JSON that clients read, and a hash
//! `{guest:<id>}:head` that says which rows it holds. A script changes both at once, and the server expires both at the
//! same millisecond, by its own clock. One without the other, or a key of another type, counts as no list and is rebuilt.
//!
//! A Redis may lose what it has acknowledged: it has no fsync to ask for, and may be set to evict. So `flush` only sees that
//! the server is there, and the loss is found instead: a restarted or emptied server has another
//! [`incarnation`](guestbook_storage::ListCache::incarnation), after which every list is compared with the tables.
//!
//! A call that was given up for want of an answer may still be done by the server later, when it wakes. That is why all say
//! which sequences they mean; at worst a list is removed once more than asked, and rebuilt when it is missed.
//!
//! Imports `core` and `storage`. Begin with `lists`.
//!
//! | module | holds |
//! |---|---|
//! | `lists` | the operations, each one round trip for a whole batch |
//! | `scripts`, `lua/` | what the server runs |
//! | `records` | the keys and values that stand there |
//! | `pages` | the guests in order, which Redis does not keep |
//! | `incarnation` | how a server that lost its lists is recognised |
//! | `probe` | whether lists can be written, tried with every command that they take |
//! | `link`, `client`, `url`, `parts` | the connection, made again whenever it is lost |
//! | `error` | what a server says, in our words |

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

mod client;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod incarnation;
mod lists;
mod pages;
mod parts;
mod probe;
mod reconnecting_client;
mod records;
mod scripts;
mod url;

pub use url::RedisUrl;

use ::redis::{Cmd, FromRedisValue, Value, cmd};
use async_trait::async_trait;
use error::{NAME, convert};
use guestbook_core::error::{Error, Result};
use guestbook_storage::probe::LastProbe;
use guestbook_storage::{Durability, DurabilityReport, Stats, Storage};
use pages::ScanPages;
use reconnecting_client::{Node, NodeCommand, ReconnectingClient};
use std::collections::HashMap;

/// The lists on a server or cluster. One connection, shared by all calls; share the store as `Arc<dyn ListCache>`.
#[derive(Debug)]
pub struct RedisLists {
    location: String,
    link: ReconnectingClient,
    pages: ScanPages,
    /// Whether lists could be written when that was tried last. Who tries lets others wait for the outcome.
    probe: tokio::sync::Mutex<LastProbe>,
}

impl RedisLists {
    /// The lists at `url`. Connects with the first call, so that a server that is down is no reason not to start.
    ///
    /// # Errors
    /// `Invalid` when the certificates that the URL names cannot be read.
    pub fn new(url: &RedisUrl) -> Result<Self> {
        Ok(Self {
            location: url.to_string(),
            link: ReconnectingClient::new(url)?,
            pages: ScanPages::default(),
            probe: tokio::sync::Mutex::default(),
        })
    }

    /// Sends one command and reads its answer.
    async fn ask<T: FromRedisValue>(
        &self,
        operation: &'static str,
        cmd: Cmd,
        node: Node,
    ) -> Result<T> {
        let answers = self
            .link
            .send(operation, &[NodeCommand { cmd, node }])
            .await?;
        let answer = answers.into_iter().next().unwrap_or(Ok(Value::Nil));
        let read = answer.and_then(|value| Ok(T::from_redis_value(value)?));
        read.map_err(|cause| convert(operation, cause))
    }

    /// What `INFO` says of every master.
    async fn info(&self, operation: &'static str, section: &str) -> Result<Vec<String>> {
        let mut info = cmd("INFO");
        info.arg(section);
        Ok(self
            .of_each_master(operation, info)
            .await?
            .into_iter()
            .map(|(_, text)| text)
            .collect())
    }

    /// The answers of all masters to a command, with their addresses. Without a cluster it is one, without an address.
    async fn of_each_master<T: FromRedisValue>(
        &self,
        operation: &'static str,
        cmd: Cmd,
    ) -> Result<Vec<(String, T)>> {
        if self.link.is_cluster() {
            self.ask(operation, cmd, Node::EachMaster).await
        } else {
            let answer = self.ask(operation, cmd, Node::AsUsual).await?;
            Ok(vec![(String::new(), answer)])
        }
    }
}

#[async_trait]
impl Storage for RedisLists {
    fn name(&self) -> &'static str {
        NAME
    }

    fn location(&self) -> String {
        self.location.clone()
    }

    async fn health(&self) -> Result<()> {
        self.ask::<()>("health", cmd("PING"), Node::AsUsual).await?;
        self.try_to_write().await
    }

    /// Losing lists loses no message, so nothing here is ever fatal.
    fn fatal(&self) -> Option<Error> {
        None
    }

    /// As the server says; one that does not tell its settings tells at least whether it writes a log.
    async fn durability(&self) -> Result<DurabilityReport> {
        let persistence = self.info("durability", "persistence").await?;
        let logs = |info: &String| field(info, "aof_enabled") == Some("1");
        if !persistence.iter().all(logs) {
            return Ok(DurabilityReport::new(Durability::Nothing, "appendonly=no"));
        }
        let mut config = cmd("CONFIG");
        config.arg("GET").arg("appendfsync");
        let asked = self
            .of_each_master::<HashMap<String, String>>("durability", config)
            .await;
        let fsync = asked.ok().and_then(|masters| {
            let (_, settings) = masters.into_iter().next()?;
            settings.into_values().next()
        });
        let level = match fsync.as_deref() {
            Some("always") => Durability::Full,
            _ => Durability::Normal,
        };
        let fsync = fsync.as_deref().unwrap_or("unknown");
        Ok(DurabilityReport::new(
            level,
            format!("appendonly=yes appendfsync={fsync}"),
        ))
    }

    /// Lists are taken for half of the keys: each has two, and besides there are only the markers of the incarnation.
    async fn stats(&self) -> Result<Stats> {
        let keys: u64 = self.ask("stats", cmd("DBSIZE"), Node::AsUsual).await?;
        let memory = self.info("stats", "memory").await?;
        let used = |info: &String| field(info, "used_memory").and_then(|it| it.parse::<u64>().ok());
        Ok(Stats {
            entries: keys.saturating_sub(self.markers() as u64).div_ceil(2),
            bytes: memory.iter().filter_map(used).sum(),
        })
    }

    /// Sees that the server is there; what it holds is durable as far as its own settings make it so.
    async fn flush(&self) -> Result<()> {
        self.ask("flush", cmd("PING"), Node::AsUsual).await
    }

    async fn close(&self) -> Result<()> {
        self.link.close();
        Ok(())
    }
}

/// A value in the lines of `INFO`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim())
}
