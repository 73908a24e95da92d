//! One read-only statement of a user's.

use super::error::{Attempt, PostgresFault};
use super::session::{BeginMode, EndMode, PooledConnection};
use super::{NAME, PostgresUrl, pool, session};
use futures_util::TryStreamExt;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_storage::RowSink;
use std::ops::ControlFlow;
use std::pin::pin;
use tokio_postgres::SimpleQueryMessage;

/// Runs one statement in a read-only transaction, also while servers use the database, and passes on each row as it comes.
///
/// # Errors
/// `Invalid` with the server's own words if the statement is invalid, changes something, or is more than one.
pub async fn query(url: &PostgresUrl, statement: &str, sink: &mut dyn RowSink) -> Result<()> {
    if statement.trim().is_empty() {
        let context =
            "there is no statement to run; docs/getting-started.md has some to begin with";
        return Err(Error::new(ErrorKind::Invalid, NAME, "sql", context));
    }
    let run = async {
        let mut session = session(&pool(url, 1)?)
            .await
            .map_err(|fault| fault.into_error("sql"))?;
        let begun = session
            .transact(BeginMode::LongRead, &[], EndMode::Open)
            .await;
        begun.map_err(|fault| fault.into_error("sql"))?;
        run(session, statement, sink).await.map_err(unaccepted)
    };
    run.await
}

async fn run(
    mut session: PooledConnection,
    statement: &str,
    sink: &mut dyn RowSink,
) -> Attempt<()> {
    let client = session.raw();
    // The simple protocol returns every value as text, and would run several statements; preparing refuses those.
    client.prepare(statement).await?;
    let mut results = pin!(client.simple_query_raw(statement).await?);
    while let Some(message) = results.try_next().await? {
        let goes_on = match message {
            SimpleQueryMessage::RowDescription(columns) => {
                let names = columns.iter().map(|column| column.name().to_owned());
                sink.columns(&names.collect::<Vec<_>>())
            }
            SimpleQueryMessage::Row(row) => {
                let cells = (0..row.len()).map(|at| row.get(at).map(str::to_owned));
                sink.row(&cells.collect::<Vec<_>>())
            }
            _ => ControlFlow::Continue(()),
        };
        if goes_on.is_break() {
            return Ok(()); // the session is closed with what the server still sends
        }
    }
    session.roll_back().await;
    Ok(())
}

/// Passes on the server's error of any kind: it concerns the user's own statement.
fn unaccepted(fault: PostgresFault) -> Error {
    if fault.is_demoted() {
        let context =
            "only statements that change nothing are run; tables are changed through the service";
        return Error::new(ErrorKind::Invalid, NAME, "sql", context);
    }
    let is_lost = fault.is_lost();
    let error = fault.into_error("sql");
    if is_lost {
        return error;
    }
    Error::caused(
        ErrorKind::Invalid,
        NAME,
        "sql",
        "the statement was refused",
        error,
    )
}
