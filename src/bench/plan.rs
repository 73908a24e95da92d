//! What is measured. Everything that can be refused is refused here, before anything is started.

use super::BenchError;
use super::backends::{Backends, StoreSettings};
use super::options::{BenchOptions, BenchTarget, ReadWriteMix};
use std::fmt;
use std::time::Duration;

/// What is measured, and how.
#[derive(Clone, Debug)]
pub(super) struct BenchPlan {
    pub(super) pairs: Vec<StorePair>,
    pub(super) messages: usize,
    pub(super) at_most: Duration,
    pub(super) connections: Vec<usize>,
    pub(super) mix: ReadWriteMix,
    pub(super) seed: u64,
    pub(super) through: BenchTarget,
    /// Percent of the throughput that is offered in the open loop.
    pub(super) load: u8,
    pub(super) repeat: usize,
    pub(super) is_overwriting: bool,
}

/// Tables and lists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct StorePair {
    pub(super) tables: TableBackend,
    pub(super) lists: ListBackend,
}

/// Where the tables of a pair are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TableBackend {
    Sqlite,
    Postgres,
    Memory,
}

/// Where the lists of a pair are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ListBackend {
    Sled,
    Redis,
    Memory,
}

impl BenchPlan {
    pub(super) fn of(
        backends: &dyn Backends,
        stores: &StoreSettings,
        args: &BenchOptions,
    ) -> Result<Self, BenchError> {
        let mut pairs = Vec::new();
        for text in &args.pairs {
            let pair = StorePair::parse(text)?;
            if pairs.contains(&pair) {
                return Err(format!("--pairs names {pair} twice; name each pair once"));
            }
            pairs.push(pair);
        }
        let mut connections = args.connections.clone();
        connections.sort_unstable();
        connections.dedup();
        let most = connections.last().copied().unwrap_or(1);
        if most > 4096 {
            return Err(format!(
                "--connections {most}: more than 4096 at once would measure this machine's ports and not the stores"
            ));
        }
        let plan = Self {
            pairs,
            messages: args.messages,
            at_most: args.max_duration,
            connections,
            mix: args.mix,
            seed: args.seed,
            through: args.target,
            load: args.load_percent,
            repeat: args.repeat,
            is_overwriting: args.overwrite_cache,
        };
        plan.require_servers(backends, stores)?;
        Ok(plan)
    }

    /// The URLs of servers, where a pair needs one; and none that the bench would not use.
    fn require_servers(
        &self,
        backends: &dyn Backends,
        stores: &StoreSettings,
    ) -> Result<(), BenchError> {
        let postgres = self
            .pairs
            .iter()
            .find(|pair| pair.tables == TableBackend::Postgres);
        let listed = self
            .pairs
            .iter()
            .find(|pair| pair.lists == ListBackend::Redis);
        if let Some(pair) = postgres {
            let url = stores
                .database_url
                .as_deref()
                .unwrap_or("postgres://localhost");
            let name = backends.database_of(url)?;
            if stores.database_url.is_none() || name != "postgresql" {
                return Err(format!(
                    "--pairs {pair}: --database-url must be the URL of a PostgreSQL server, with a role that may create databases"
                ));
            }
        }
        if let Some(pair) = listed {
            let url = stores.cache_url.as_deref().unwrap_or("redis://localhost");
            let name = backends.cache_of(url)?;
            if stores.cache_url.is_none() || name != "redis" {
                return Err(format!(
                    "--pairs {pair}: --cache-url must be the URL of a Redis that holds nothing"
                ));
            }
        }
        if stores.durability.is_some()
            && self
                .pairs
                .iter()
                .all(|it| it.tables != TableBackend::Sqlite)
        {
            return Err("--durability is for the embedded database, and no pair of --pairs has it; leave it out".into());
        }
        Ok(())
    }

    /// Share of all operations that are writes.
    pub(super) fn write_share(&self) -> f64 {
        let writes = f64::from(self.mix.writes);
        writes / (writes + f64::from(self.mix.reads))
    }
}

impl StorePair {
    fn parse(text: &str) -> Result<Self, BenchError> {
        let (tables, lists) = match text.split_once('+') {
            Some(parts) => parts,
            None if text == "memory" => ("memory", "memory"),
            None => ("", ""),
        };
        let tables = match tables {
            "sqlite" => Some(TableBackend::Sqlite),
            "postgres" | "postgresql" => Some(TableBackend::Postgres),
            "memory" => Some(TableBackend::Memory),
            _ => None,
        };
        let lists = match lists {
            "sled" => Some(ListBackend::Sled),
            "redis" => Some(ListBackend::Redis),
            "memory" => Some(ListBackend::Memory),
            _ => None,
        };
        match (tables, lists) {
            (Some(tables), Some(lists)) => Ok(Self { tables, lists }),
            _ => Err(format!(
                "--pairs: {text:?} is no pair of stores; write tables+lists, such as sqlite+sled, postgres+redis, or memory"
            )),
        }
    }
}

impl fmt::Display for StorePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = match self.tables {
            TableBackend::Sqlite => "sqlite",
            TableBackend::Postgres => "postgres",
            TableBackend::Memory if self.lists == ListBackend::Memory => {
                return f.write_str("memory");
            }
            TableBackend::Memory => "memory",
        };
        let lists = match self.lists {
            ListBackend::Sled => "sled",
            ListBackend::Redis => "redis",
            ListBackend::Memory => "memory",
        };
        write!(f, "{tables}+{lists}")
    }
}
