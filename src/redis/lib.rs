//! The expiring lists on a [Redis](https://redis.io) server or cluster: what other programs read at `guest:{id}`.
//!
//! Each guest has two keys on the same node: the list, whose items are the JSON that clients read, and a hash
//! `{guest:<id>}:head` that names the rows it is a view of. A script changes both atomically, and the server expires both at the
//! same millisecond, by its own clock. One without the other, or a key of another type, counts as no list and is rebuilt.
//!
//! A Redis may lose acknowledged writes: it has no fsync command, and may be set to evict. So `flush` only checks that the server
//! is there, and losses are detected instead: a restarted or emptied server has another
//! [`incarnation`](guestbook_storage::ListCache::incarnation), after which every list is compared with the tables.
//!
//! The server may still execute a call that has timed out, when it recovers. Therefore every call names its sequences; at
//! worst a list is removed once too often, and rebuilt when it is missed.
//!
//! | module | content |
//! |---|---|
//! | `lists` | the operations, each one round trip for a whole batch |
//! | `scripts`, `lua/` | the scripts that the server runs |
//! | `records` | the keys and values |
//! | `pages` | the guests in order, which Redis does not keep |
//! | `incarnation` | detecting a server that lost its lists |
//! | `probe` | whether lists can be written, probed with every command that they use |
//! | `reconnecting_client`, `client`, `url`, `parts` | the connection, which is restored whenever it is lost |
//! | `error` | converting the server's errors |

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

/// The session lists on a server or cluster. All calls share one connection; share the store as `Arc<dyn ListCache>`.
#[derive(Debug)]
pub struct RedisLists {
    location: String,
    link: ReconnectingClient,
    pages: ScanPages,
    /// The outcome of the last write probe. Concurrent callers wait for one probe.
    probe: tokio::sync::Mutex<LastProbe>,
}

impl RedisLists {
    /// The lists at `url`. Connects with the first call, so that a server that is down does not prevent the start.
    ///
    /// # Errors
    /// `Invalid` if the certificates that the URL names cannot be read.
    pub fn new(url: &RedisUrl) -> Result<Self> {
        Ok(Self {
            location: url.to_string(),
            link: ReconnectingClient::new(url)?,
            pages: ScanPages::default(),
            probe: tokio::sync::Mutex::default(),
        })
    }

    /// Sends one command and reads its reply.
    async fn ask<T: FromRedisValue>(
        &self,
        operation: &'static str,
        cmd: Cmd,
        node: Node,
    ) -> Result<T> {
        let replies = self
            .link
            .send(operation, &[NodeCommand { cmd, node }])
            .await?;
        let reply = replies.into_iter().next().unwrap_or(Ok(Value::Nil));
        let read = reply.and_then(|value| Ok(T::from_redis_value(value)?));
        read.map_err(|cause| convert(operation, cause))
    }

    /// The `INFO` of every master.
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

    /// The replies of all masters to a command, with their addresses. Without a cluster one, without an address.
    async fn of_each_master<T: FromRedisValue>(
        &self,
        operation: &'static str,
        cmd: Cmd,
    ) -> Result<Vec<(String, T)>> {
        if self.link.is_cluster() {
            self.ask(operation, cmd, Node::EachMaster).await
        } else {
            let reply = self.ask(operation, cmd, Node::AsUsual).await?;
            Ok(vec![(String::new(), reply)])
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

    /// From the server's settings; a server that denies them at least shows whether it writes a log.
    async fn durability(&self) -> Result<DurabilityReport> {
        let persistence = self.info("durability", "persistence").await?;
        let logs = |info: &String| field(info, "aof_enabled") == Some("1");
        if !persistence.iter().all(logs) {
            return Ok(DurabilityReport::new(Durability::Nothing, "appendonly=no"));
        }
        let mut config = cmd("CONFIG");
        config.arg("GET").arg("appendfsync");
        let settings = self
            .of_each_master::<HashMap<String, String>>("durability", config)
            .await;
        let fsync = settings.ok().and_then(|masters| {
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

    /// Estimates lists as half of the keys: each has two, and the only other keys are the incarnation's markers.
    async fn stats(&self) -> Result<Stats> {
        let keys: u64 = self.ask("stats", cmd("DBSIZE"), Node::AsUsual).await?;
        let memory = self.info("stats", "memory").await?;
        let used = |info: &String| field(info, "used_memory").and_then(|it| it.parse::<u64>().ok());
        Ok(Stats {
            entries: keys.saturating_sub(self.markers() as u64).div_ceil(2),
            bytes: memory.iter().filter_map(used).sum(),
        })
    }

    /// Checks that the server is there; its own settings decide how durable its content is.
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
