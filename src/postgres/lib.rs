//! The tables on a PostgreSQL server, which any number of nodes share.
//!
//! A server is a network away, so round trips dominate: a batch of any size takes two. Several batches run concurrently, each in
//! its own transaction on its own connection. See `sql.rs` for every statement, `record.rs` for how transactions of several nodes
//! avoid conflicts.
//!
//! No statement is prepared under a name, and no session state is set: both would be lost or mixed up behind a pooler that gives
//! each transaction another connection.

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

mod audit;
mod chats;
mod columns;
mod corpus;
mod erase;
mod error;
mod ids;
mod migrate;
mod optimistic_cache;
mod outbox;
mod prompts;
mod query;
mod record;
mod repair;
mod rows;
mod schema;
mod scratch;
mod search;
mod session;
mod settings;
mod sql;
mod text;
mod tls;
mod url;
mod vectors;

pub use query::query;
pub use scratch::{drop_scratch, make_scratch};
pub use settings::stored_settings;
pub use url::PostgresUrl;

use async_trait::async_trait;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use error::{Attempt, PostgresFault};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::rounded_ms;
use guestbook_storage::database::TableSettings;
use guestbook_storage::{DurabilityReport, Stats, Storage};
use session::{BeginMode, EndMode, PooledConnection, Statement, statement};
use settings::{Held, Other};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_postgres::Row;
use uuid::Uuid;

const NAME: &str = "postgresql";
/// How long to wait for a free connection, and for a new one.
const CONNECTION_WAIT: Duration = Duration::from_secs(2);
/// Concurrent batches on a nearby server. More would make each smaller, and large batches are what makes a message cheap.
const WRITERS: usize = 2;
/// Round-trip time per additional concurrent batch: during it neither side works.
const WRITER_EVERY: Duration = Duration::from_millis(1);
/// Measurements of the round-trip time; the shortest counts.
const PINGS: usize = 3;
/// Parts of an hour's row in `cache_metrics_parts`: transactions that add to the same part wait for each other.
const PARTS: u32 = 16;
/// One in this many connections that do not write may be used for long reads: short ones wait for none of them.
const LONG_SHARE: usize = 4;
/// How often the database's size is queried, for which the server visits every file.
const SIZE_EVERY: Duration = Duration::from_secs(60);

/// A PostgreSQL database with the tables. All clones are one.
#[derive(Clone, Debug)]
pub struct PostgresDatabase(Arc<PostgresInner>);

#[derive(Debug)]
struct PostgresInner {
    url: PostgresUrl,
    pool: Pool,
    /// A connection for readiness, which waits for nobody's.
    prober: Pool,
    /// Connections that may be used for reads of unbounded length at once.
    long_reads: Arc<Semaphore>,
    epoch: Uuid,
    settings: RwLock<Arc<Held>>,
    writers: usize,
    known: optimistic_cache::OptimisticCache,
    closed: AtomicBool,
    part: AtomicU32,
    size: Size,
}

/// The last known size of the database.
#[derive(Debug)]
struct Size {
    bytes: AtomicU64,
    began: Instant,
    /// Milliseconds after `began` at which it is due again.
    due: AtomicU64,
}

impl PostgresDatabase {
    /// Connects, migrates the schema, and warns of server settings under which an acknowledged commit could be lost.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached, `Unsupported` when the tables were written by a newer version.
    pub async fn open(
        url: &PostgresUrl,
        connections: usize,
        settings: TableSettings,
    ) -> Result<Self> {
        Self::serve(url, connections, settings, Other::Change).await
    }

    /// As [`Self::open`], for a node that joins others: settings that differ from the stored ones are refused.
    ///
    /// # Errors
    /// As [`Self::open`], and `Conflict` that names the setting.
    pub async fn join(
        url: &PostgresUrl,
        connections: usize,
        settings: TableSettings,
    ) -> Result<Self> {
        Self::serve(url, connections, settings, Other::Refuse).await
    }

    async fn serve(
        url: &PostgresUrl,
        connections: usize,
        settings: TableSettings,
        others: Other,
    ) -> Result<Self> {
        let text_index = settings.text_index;
        let database = Self::inspect(url, connections, settings).await?;
        let fault = |fault: PostgresFault| fault.into_error("open");
        let session = database.session().await.map_err(fault)?;
        let tables = database.held().tables.clone();
        database.hold(settings::note(session, &tables, others).await?);
        text::apply_wanted(database.session().await.map_err(fault)?, text_index).await?;
        for problem in database.durability_problems().await? {
            tracing::warn!(
                server = %url,
                "{problem} on the server: what is answered as saved can be lost when the server crashes"
            );
        }
        Ok(database)
    }

    /// As [`Self::open`], but does not apply changed settings to the chats and lists: for inspecting what a server will serve.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn inspect(
        url: &PostgresUrl,
        connections: usize,
        settings: TableSettings,
    ) -> Result<Self> {
        let pool = pool(url, connections)?;
        let session = session(&pool)
            .await
            .map_err(|fault| fault.into_error("open"))?;
        let epoch = schema::prepare(session).await?;
        let away = distance(&pool)
            .await
            .map_err(|fault| fault.into_error("open"))?;
        let further =
            usize::try_from(away.as_millis() / WRITER_EVERY.as_millis()).unwrap_or(usize::MAX);
        // A quarter of the connections is for reading.
        let writers = WRITERS
            .saturating_add(further)
            .min(connections * 3 / 4)
            .max(1);
        let long_reads = ((connections - writers) / LONG_SHARE).max(1);
        tracing::debug!(server = %url, away_ms = rounded_ms(away), writers, long_reads, "connected");
        Ok(Self(Arc::new(PostgresInner {
            url: url.clone(),
            pool,
            prober: self::pool(url, 1)?,
            long_reads: Arc::new(Semaphore::new(long_reads)),
            epoch,
            settings: RwLock::new(Arc::new(Held {
                tables: settings,
                version: 0,
            })),
            writers,
            known: optimistic_cache::OptimisticCache::default(),
            closed: AtomicBool::new(false),
            // Nodes start at random parts.
            part: AtomicU32::new(Uuid::new_v4().as_fields().0 % PARTS),
            size: Size {
                bytes: AtomicU64::new(0),
                began: Instant::now(),
                due: AtomicU64::new(0),
            },
        })))
    }

    /// Settings of the server under which an acknowledged commit could be lost when it crashes; empty when there are none.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn durability_problems(&self) -> Result<Vec<String>> {
        let problems = async { schema::problems(self.session().await?).await };
        problems.await.map_err(|fault| fault.into_error("open"))
    }

    async fn session(&self) -> Attempt<PooledConnection> {
        if self.0.closed.load(Ordering::Relaxed) {
            return Err(PostgresFault::Closed);
        }
        session(&self.0.pool).await
    }

    /// A session for a read of unbounded length; waits for others of its kind, without a connection.
    async fn long_session(&self) -> Attempt<PooledConnection> {
        let share = Arc::clone(&self.0.long_reads).acquire_owned().await;
        let share = share.map_err(|_| PostgresFault::Closed)?;
        Ok(self.session().await?.with_share(share))
    }

    async fn session_for(&self, begin: BeginMode) -> Attempt<PooledConnection> {
        match begin {
            BeginMode::LongRead => self.long_session().await,
            _ => self.session().await,
        }
    }

    /// Reads with pipelined statements in one snapshot; returns the rows of each. If the connection turns out to be lost, the read
    /// is retried once on another one.
    async fn read(
        &self,
        operation: &'static str,
        statements: &[Statement<'_>],
    ) -> Result<Vec<Vec<Row>>> {
        self.read_as(operation, BeginMode::Read, statements).await
    }

    async fn read_as(
        &self,
        operation: &'static str,
        begin: BeginMode,
        statements: &[Statement<'_>],
    ) -> Result<Vec<Vec<Row>>> {
        let attempt = || async {
            let mut session = self.session_for(begin).await?;
            session.transact(begin, statements, EndMode::Commit).await
        };
        let answered = match attempt().await {
            Err(PostgresFault::Late) => return Err(PostgresFault::Late.into_error(operation)),
            Err(fault) if fault.is_lost() => attempt().await,
            other => other,
        };
        answered.map_err(|fault| fault.into_error(operation))
    }

    /// Writes with pipelined statements in one transaction; returns the rows of each.
    async fn write(
        &self,
        operation: &'static str,
        statements: &[Statement<'_>],
    ) -> Result<Vec<Vec<Row>>> {
        let attempt = || async {
            let mut session = self.session().await?;
            session
                .transact(BeginMode::Write, statements, EndMode::Commit)
                .await
        };
        let answered = match attempt().await {
            Err(fault) if fault.is_undone() => attempt().await,
            other => other,
        };
        answered.map_err(|fault| fault.into_error(operation))
    }

    /// Asks whether the tables can be written.
    async fn probe(&self) -> Attempt<Vec<Vec<Row>>> {
        let attempt = || async {
            let mut session = session(&self.0.prober).await?;
            let statements = [statement!(sql::HEALTH)];
            session
                .transact(BeginMode::Write, &statements, EndMode::Commit)
                .await
        };
        match attempt().await {
            Err(fault) if fault.is_undone() => attempt().await,
            other => other,
        }
    }

    /// The part of the hour's row for the next transaction.
    fn part(&self) -> i32 {
        let part = self.0.part.fetch_add(1, Ordering::Relaxed) % PARTS;
        i32::try_from(part).unwrap_or(0)
    }

    /// The size of the database in MiB, at most a minute old; queried in the background.
    fn megabytes(&self) -> f64 {
        let size = &self.0.size;
        let elapsed = u64::try_from(size.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = size.due.load(Ordering::Relaxed);
        let next =
            elapsed.saturating_add(u64::try_from(SIZE_EVERY.as_millis()).unwrap_or(u64::MAX));
        let claim = |due| {
            size.due
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
        };
        if elapsed >= due && claim(due).is_ok() {
            let database = self.clone();
            tokio::spawn(async move {
                if let Err(cause) = database.ask_size().await {
                    tracing::debug!(%cause, "failed to read the size of the database");
                }
            });
        }
        size.bytes.load(Ordering::Relaxed) as f64 / 1_048_576.0
    }

    async fn ask_size(&self) -> Result<u64> {
        let rows = self.read("size", &[statement!(sql::SIZE)]).await?;
        let bytes = first_count(&rows[0]).map_err(|fault| fault.into_error("size"))?;
        self.0.size.bytes.store(bytes, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// The only number of a result.
fn first_count(rows: &[Row]) -> Attempt<u64> {
    let row = rows
        .first()
        .ok_or_else(|| PostgresFault::Row("no count".into()))?;
    rows::count(row, 0)
}

fn pool(url: &PostgresUrl, connections: usize) -> Result<Pool> {
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(url.config(), url.tls()?, recycling);
    let built = Pool::builder(manager)
        .max_size(connections)
        .runtime(Runtime::Tokio1)
        .timeouts(Timeouts {
            wait: Some(CONNECTION_WAIT),
            create: Some(url.connect_time() + CONNECTION_WAIT),
            recycle: Some(CONNECTION_WAIT),
        })
        .build();
    built.map_err(|cause| Error::caused(ErrorKind::Internal, NAME, "open", "no pool", cause))
}

/// The server's round-trip time.
async fn distance(pool: &Pool) -> Attempt<Duration> {
    let mut shortest = Duration::MAX;
    for _ in 0..PINGS {
        let mut session = session(pool).await?;
        let began = Instant::now();
        session
            .transact(BeginMode::Read, &[], EndMode::Commit)
            .await?;
        shortest = shortest.min(began.elapsed());
    }
    Ok(shortest)
}

async fn session(pool: &Pool) -> Attempt<PooledConnection> {
    pool.get()
        .await
        .map(PooledConnection::new)
        .map_err(PostgresFault::Pool)
}

#[async_trait]
impl Storage for PostgresDatabase {
    fn name(&self) -> &'static str {
        NAME
    }

    fn location(&self) -> String {
        self.0.url.to_string()
    }

    async fn health(&self) -> Result<()> {
        let rows = self.probe().await;
        let rows = rows.map_err(|fault| fault.into_error("health"))?;
        let read = |row: &Row| Ok((rows::get::<bool>(row, 0)?, rows::get::<bool>(row, 1)?));
        let read_only = rows[0].first().map(read).transpose();
        let context = match read_only.map_err(|fault: PostgresFault| fault.into_error("health"))? {
            Some((false, true)) => return Ok(()),
            Some((false, false)) => {
                "this user may not write the tables; grant it INSERT, UPDATE and DELETE on all of them"
            }
            _ => "the server is read-only: a standby; give the address of the primary",
        };
        Err(Error::new(ErrorKind::Unavailable, NAME, "health", context))
    }

    /// Never: after a fatal error the server restarts itself, and a new connection finds it recovered.
    fn fatal(&self) -> Option<Error> {
        None
    }

    async fn durability(&self) -> Result<DurabilityReport> {
        let statements = async { schema::durability(self.session().await?).await };
        statements
            .await
            .map_err(|fault| fault.into_error("durability"))
    }

    async fn stats(&self) -> Result<Stats> {
        let statements = [statement!(sql::ENTRIES), statement!(sql::SIZE)];
        let rows = self.read("stats", &statements).await?;
        let read = || {
            Ok(Stats {
                entries: first_count(&rows[0])?,
                bytes: first_count(&rows[1])?,
            })
        };
        read().map_err(|fault: PostgresFault| fault.into_error("stats"))
    }

    /// Every commit is on the server's disk when it returns, if its settings are right.
    async fn flush(&self) -> Result<()> {
        self.health().await
    }

    async fn close(&self) -> Result<()> {
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.pool.close();
        self.0.prober.close();
        Ok(())
    }
}
