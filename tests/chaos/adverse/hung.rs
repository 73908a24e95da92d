//! Servers that hang, and ones that are far away: every request is answered in time, what cannot be taken in is turned away at
//! once, and what was held meanwhile is given back.
//!
//! `tests/cluster` has what becomes of the messages when a server goes away; here it is what the node holds and whom it keeps
//! waiting.
//!
//! Seen to fail: with a queue that lets everyone wait for a place (`admission` of an hour) it said `PostgresStopped: nobody was
//! turned away`.

use crate::adverse::footprint::Footprint;
use crate::adverse::words::stopped;
use guestbook_testkit::oracle::{Load, Nodes, Oracle, Plan, is_long, within};
use guestbook_testkit::pair::{Lists, Pair, Tables};
use guestbook_testkit::process::Running;
use guestbook_testkit::servers::{Postgres, Proxy, Redis};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a request may take, and what a busy machine adds to it.
const LIMIT: Duration = Duration::from_millis(5_000 + 1_500);
/// Far fewer places than there are clients.
const PLACES: &str = "16";
const CLIENTS: usize = 64;

#[derive(Clone, Copy, Debug)]
enum Trouble {
    PostgresStopped,
    RedisStopped,
    BothStopped,
    /// What is asked arrives, and no answer comes back.
    PostgresStalled,
    RedisStalled,
    /// 200 ms there and as long back, to both.
    FarAway,
}

impl Trouble {
    /// Longer than a request may take, where requests hang.
    fn lasts(self) -> Duration {
        match self {
            Self::RedisStopped | Self::RedisStalled | Self::FarAway => Duration::from_secs(2),
            _ => Duration::from_secs(6),
        }
    }

    /// Whether nothing can be saved meanwhile.
    fn is_of_the_tables(self) -> bool {
        !matches!(
            self,
            Self::RedisStopped | Self::RedisStalled | Self::FarAway
        )
    }
}

/// A node and its servers, each behind a network of ours.
struct ProxiedNode {
    pair: Pair,
    to_postgres: Proxy,
    to_redis: Proxy,
    node: Running,
    oracle: Arc<Oracle>,
}

impl ProxiedNode {
    async fn start() -> Self {
        let pair = Pair::postgres_redis().await;
        let (postgres, redis) = servers(&pair);
        let to_postgres = Proxy::start(&postgres.address());
        let to_redis = Proxy::start(&redis.address());
        let Tables::Postgres { server, database } = &pair.tables else {
            unreachable!("asked for PostgreSQL")
        };
        let (tables, lists) = (
            to_postgres.before(&server.url(database)),
            to_redis.before(&redis.url()),
        );
        let mut command = pair.place.command(&["--listen", "127.0.0.1:0"]);
        command.args([
            "--write-queue",
            PLACES,
            "--database-url",
            &tables,
            "--cache-url",
            &lists,
        ]);
        let node = pair.start(command);
        Self {
            pair,
            to_postgres,
            to_redis,
            node,
            oracle: Arc::new(Oracle::default()),
        }
    }

    fn load(&self) -> Load {
        let plan = Plan {
            clients: CLIENTS,
            guests: 32,
            requests: usize::MAX,
            pause: Duration::from_millis(50),
        };
        Load::start(&self.oracle, &Nodes::of(&[&self.node]), plan)
    }

    async fn begin(&self, trouble: Trouble) {
        let (postgres, redis) = servers(&self.pair);
        let way = Duration::from_millis(200);
        match trouble {
            Trouble::PostgresStopped => postgres.pause().await,
            Trouble::RedisStopped => redis.pause().await,
            Trouble::BothStopped => drop(tokio::join!(postgres.pause(), redis.pause())),
            Trouble::PostgresStalled => self.to_postgres.stall_answers(),
            Trouble::RedisStalled => self.to_redis.stall_answers(),
            Trouble::FarAway => [&self.to_postgres, &self.to_redis]
                .into_iter()
                .for_each(|it| it.delay(way, way)),
        }
    }

    async fn end(&self, trouble: Trouble) {
        let (postgres, redis) = servers(&self.pair);
        let none = Duration::ZERO;
        match trouble {
            Trouble::PostgresStopped => postgres.resume().await,
            Trouble::RedisStopped => redis.resume().await,
            Trouble::BothStopped => drop(tokio::join!(postgres.resume(), redis.resume())),
            Trouble::PostgresStalled => tokio::task::block_in_place(|| self.to_postgres.resume()),
            Trouble::RedisStalled => tokio::task::block_in_place(|| self.to_redis.resume()),
            Trouble::FarAway => [&self.to_postgres, &self.to_redis]
                .into_iter()
                .for_each(|it| it.delay(none, none)),
        }
    }

    /// How many of some requests that nobody counts are told that the queue is full, and when to come again.
    async fn turned_away(&self) -> usize {
        let deletions = (0..CLIENTS).map(|_| self.node.client.delete("/v1/guest/chat/nobody"));
        let answers = futures_util::future::join_all(deletions).await;
        let full = answers.iter().filter(|answer| {
            answer.status == 503
                && answer.header("retry-after").is_some()
                && answer.text().contains("too many requests are waiting")
        });
        full.count()
    }

    /// Goes through a trouble under load; `base` is what the node held before.
    async fn endure(&self, trouble: Trouble, base: &Footprint) {
        let load = self.load();
        self.oracle.progress(200).await;
        let unavailable = {
            let mut book = self.oracle.book();
            book.slowest = Duration::ZERO;
            book.unavailable
        };
        self.begin(trouble).await;
        let (_, full) = tokio::join!(tokio::time::sleep(trouble.lasts()), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.turned_away().await
        });
        let peak = Footprint::of(&self.node);
        self.end(trouble).await;
        let since = Instant::now();
        self.oracle.progress(1).await;
        let served = since.elapsed();
        self.oracle.progress(200).await;
        load.finish().await;
        let (slowest, unavailable) = {
            let book = self.oracle.book();
            assert!(book.wrong.is_empty(), "{:#?}", book.wrong);
            (book.slowest, book.unavailable - unavailable)
        };
        let (back, now) = Footprint::until_back(&self.node, base).await;
        println!(
            "figure: {trouble:?} for {:?} under {CLIENTS} clients: slowest answer {slowest:.2?}, {unavailable} × 503 ({full} of {CLIENTS} probes told that the queue is full), served again after {served:.2?}; held {peak}, and {back:.1?} after the load {now}",
            trouble.lasts()
        );
        assert!(
            slowest < within(LIMIT),
            "{trouble:?}: a request took {slowest:?}"
        );
        if trouble.is_of_the_tables() {
            assert!(
                full > 0 && unavailable > 0,
                "{trouble:?}: nobody was turned away"
            );
        }
    }
}

fn servers(pair: &Pair) -> (&Postgres, &Redis) {
    match (&pair.tables, &pair.lists) {
        (Tables::Postgres { server, .. }, Lists::Redis(redis)) => (server, redis),
        _ => unreachable!("asked for both servers"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_hang_keep_nobody_waiting_and_leave_nothing_behind() {
    let proxied = ProxiedNode::start().await;
    let load = proxied.load();
    proxied.oracle.progress(1_000).await;
    load.finish().await;
    let base = Footprint::of(&proxied.node);
    println!("figure: before any trouble it holds {base}");
    let mut troubles = vec![
        Trouble::PostgresStopped,
        Trouble::RedisStopped,
        Trouble::FarAway,
    ];
    if is_long() {
        troubles.extend([
            Trouble::PostgresStalled,
            Trouble::RedisStalled,
            Trouble::BothStopped,
        ]);
        troubles.extend(troubles.clone());
    }
    for trouble in troubles {
        proxied.endure(trouble, &base).await;
    }
    proxied
        .oracle
        .assert_clean(&proxied.pair, &[&proxied.node.client])
        .await;
    stopped(proxied.node);
}
