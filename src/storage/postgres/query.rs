//! One read-only statement of a person's own.

use super::error::{Attempt, Fault};
use super::session::{Begin, End, Session};
use super::{NAME, PostgresUrl, pool, session};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::QueryRows;
use tokio_postgres::SimpleQueryMessage;

/// Runs one statement in a read-only transaction, also while servers are using the database.
///
/// # Errors
/// `Invalid` with the server's own words when the statement is not valid, changes something, or is more than one.
pub async fn query(url: &PostgresUrl, statement: &str) -> Result<QueryRows> {
    if statement.trim().is_empty() {
        let context =
            "there is no statement to run; docs/getting-started.md has some to begin with";
        return Err(Error::new(ErrorKind::Invalid, NAME, "sql", context));
    }
    let run = async {
        let mut session = session(&pool(url, 1)?)
            .await
            .map_err(|fault| fault.into_error("sql"))?;
        let begun = session.transact(Begin::LongRead, &[], End::Open).await;
        begun.map_err(|fault| fault.into_error("sql"))?;
        run(session, statement).await.map_err(unaccepted)
    };
    run.await
}

async fn run(mut session: Session, statement: &str) -> Attempt<QueryRows> {
    let client = session.raw();
    // The simple protocol gives every value as text, and would run several statements; preparing refuses those.
    client.prepare(statement).await?;
    let answered = client.simple_query(statement).await?;
    session.roll_back().await;
    let mut found = QueryRows::default();
    for message in answered {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                found.columns = columns
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect();
            }
            SimpleQueryMessage::Row(row) => {
                let cells = (0..row.len()).map(|at| row.get(at).map(str::to_owned));
                found.rows.push(cells.collect());
            }
            _ => {}
        }
    }
    Ok(found)
}

/// What the server said of the statement is the person's to read, whatever it is.
fn unaccepted(fault: Fault) -> Error {
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
