//! A pooled connection in use. All statements that do not depend on a result are pipelined: round trips, not statements,
//! determine the speed with a distant server.
//!
//! Statements are sent unnamed, with their types: a pooler that gives each transaction another connection (PgBouncer)
//! then has no state to lose, and needs no setting.

use super::error::{Attempt, PostgresFault};
use super::sql;
use deadpool_postgres::Object;
use futures_util::future::join_all;
use guestbook_failpoint as failpoint;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// How long to wait for one response. Above the server's own limits, so that the server reports what was too slow.
const PATIENCE: Duration = Duration::from_secs(8);
const LONG_PATIENCE: Duration = Duration::from_secs(660);

/// Values of a statement with their types.
pub(super) type Values<'a> = Vec<(&'a (dyn ToSql + Sync), Type)>;

/// A statement and its values.
#[derive(Clone)]
pub(super) struct Statement<'a> {
    pub(super) sql: &'static str,
    pub(super) values: Values<'a>,
}

/// `statement!(SQL; value => TYPE, …)`
macro_rules! statement {
    ($sql:expr $(; $($value:expr => $type:ident),* $(,)?)?) => {
        $crate::session::Statement {
            sql: $sql,
            values: vec![$($((
                &$value as &(dyn tokio_postgres::types::ToSql + Sync),
                tokio_postgres::types::Type::$type,
            )),*)?],
        }
    };
}
pub(super) use statement;

/// What kind of transaction to begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum BeginMode {
    /// One that writes.
    Write,
    /// One that reads a snapshot.
    Read,
    /// As `Read`, for counting over whole tables.
    LongRead,
    /// As `Write`, for changing whole tables.
    LongWrite,
}

impl BeginMode {
    fn sql(self) -> &'static str {
        match self {
            Self::Write => sql::BEGIN_WRITE,
            Self::Read => sql::BEGIN_READ,
            Self::LongRead => sql::BEGIN_LONG_READ,
            Self::LongWrite => sql::BEGIN_LONG_WRITE,
        }
    }
}

/// A connection of the pool. Unless its transaction has ended, it is closed instead of being returned: the server then rolls
/// back.
#[derive(Debug)]
pub(super) struct PooledConnection {
    client: Option<Object>,
    ended: bool,
    patience: Duration,
    /// Its share of the connections for long reads, if it is for one.
    _share: Option<OwnedSemaphorePermit>,
}

impl PooledConnection {
    pub(super) fn new(client: Object) -> Self {
        Self {
            client: Some(client),
            ended: false,
            patience: PATIENCE,
            _share: None,
        }
    }

    pub(super) fn with_share(mut self, share: OwnedSemaphorePermit) -> Self {
        self._share = Some(share);
        self
    }

    fn client(&self) -> &Object {
        self.client.as_ref().expect("taken only when dropped")
    }

    /// Pipelines BEGIN, the statements and, if the transaction ends there, COMMIT; returns the rows of each statement.
    pub(super) async fn transact(
        &mut self,
        begin: BeginMode,
        statements: &[Statement<'_>],
        end: EndMode,
    ) -> Attempt<Vec<Vec<Row>>> {
        self.patience = match begin {
            BeginMode::Write | BeginMode::Read => PATIENCE,
            BeginMode::LongWrite | BeginMode::LongRead => LONG_PATIENCE,
        };
        self.send(Some(begin), statements, end).await
    }

    /// Raises the time limit of this transaction.
    pub(super) fn take_time(&mut self) {
        self.patience = LONG_PATIENCE;
    }

    /// Continues the open transaction.
    pub(super) async fn go_on(
        &mut self,
        statements: &[Statement<'_>],
        end: EndMode,
    ) -> Attempt<Vec<Vec<Row>>> {
        self.send(None, statements, end).await
    }

    async fn send(
        &mut self,
        begin: Option<BeginMode>,
        statements: &[Statement<'_>],
        end: EndMode,
    ) -> Attempt<Vec<Vec<Row>>> {
        self.ended = false;
        if end == EndMode::Commit {
            failpoint::reach("commit.before");
        }
        let client = self.client();
        let begin = async {
            match begin {
                Some(begin) => client.batch_execute(begin.sql()).await,
                None => Ok(()),
            }
        };
        let commit = async {
            match end {
                EndMode::Commit => client.batch_execute(sql::COMMIT).await,
                EndMode::Open => Ok(()),
            }
        };
        // A future sends when it is first polled, so polling them in this order sends them in this order.
        let all = futures_util::future::join3(
            begin,
            join_all(
                statements
                    .iter()
                    .map(|one| client.query_typed(one.sql, &one.values)),
            ),
            commit,
        );
        let responses = tokio::time::timeout(self.patience, all).await;
        let Ok((begun, results, committed)) = responses else {
            self.distrust_others();
            return Err(PostgresFault::Late);
        };
        // After a statement that failed, COMMIT rolls back: either way no transaction is open.
        self.ended = end == EndMode::Commit && committed.is_ok();
        if self.ended {
            failpoint::reach("commit.after");
        }
        begun?;
        let rows = results.into_iter().collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(PostgresFault::Server);
        if rows.as_ref().is_err_and(PostgresFault::is_demoted) {
            self.distrust_others();
            self.ended = false; // close this one too: the next connection may lead to the new primary
        }
        let rows = rows?;
        committed?;
        Ok(rows)
    }

    /// Closes the idle connections of the pool. A connection without a response may have been dropped by a firewall, or lead to a
    /// dead machine; the others are then likely the same, and each would cost as long a wait.
    fn distrust_others(&self) {
        if let Some(pool) = Object::pool(self.client()) {
            pool.retain(|_, _| false);
        }
    }

    /// Rolls back the open transaction, so that the connection can be reused.
    pub(super) async fn roll_back(mut self) {
        let rolled = self.client().batch_execute(sql::ROLLBACK);
        let rolled = tokio::time::timeout(PATIENCE, rolled).await;
        self.ended = matches!(rolled, Ok(Ok(())));
    }

    /// For statements without parameters, outside a transaction.
    pub(super) fn raw(&mut self) -> &mut Object {
        self.client.as_mut().expect("taken only when dropped")
    }
}

/// Whether these statements end the transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EndMode {
    /// It does.
    Commit,
    /// More follows.
    Open,
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && !self.ended
        {
            // Taken out of the pool: dropping it closes the connection.
            drop(Object::take(client));
        }
    }
}
