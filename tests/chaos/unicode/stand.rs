//! The program as a process of its own, on each pair of stores.

use guestbook_testkit::process::{Place, Running};
use guestbook_testkit::servers::{Redis, SharedDatabase, shared_postgres};

/// Which stores.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pair {
    Memory,
    SqliteSled,
    SqliteRedis,
    PostgresSled,
    PostgresRedis,
}

/// A running server and what it stands on.
#[derive(Debug)]
pub(crate) struct Stand {
    pub(crate) node: Running,
    pub(crate) place: Place,
    pub(crate) postgres: Option<SharedDatabase>,
    pub(crate) redis: Option<Redis>,
    pub(crate) pair: Pair,
}

impl Stand {
    pub(crate) async fn open(pair: Pair) -> Self {
        let place = Place::new();
        let mut command = place.command(&[
            "--listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
            "--log",
            "guestbook=debug",
        ]);
        let (mut postgres, mut redis) = (None, None);
        if pair == Pair::Memory {
            command.args(["--database-url", "memory:", "--cache-url", "memory:"]);
        }
        if matches!(pair, Pair::PostgresSled | Pair::PostgresRedis) {
            let (database, url) = shared_postgres().await;
            command.args(["--database-url", &url]);
            postgres = Some(database);
        }
        if matches!(pair, Pair::SqliteRedis | Pair::PostgresRedis) {
            let server = Redis::start().await;
            command.args(["--cache-url", &server.url()]);
            redis = Some(server);
        }
        let node = tokio::task::block_in_place(|| Running::start(command));
        Self {
            node,
            place,
            postgres,
            redis,
            pair,
        }
    }
}
