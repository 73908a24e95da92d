//! A separate database for a measurement, beside the one of a URL, which is not touched.

use super::error::PostgresFault;
use super::{NAME, PostgresUrl, pool, session, sql};
use guestbook_core::error::{Error, ErrorKind, Result};
use tokio_postgres::error::SqlState;

/// Its name: fixed, so that leftovers of an interrupted measurement are found.
const DATABASE: &str = "guestbook_bench";

/// Creates the empty database; returns its URL.
///
/// # Errors
/// `Conflict` if it exists, `Unsupported` if the role may not create databases, and those of the server.
pub async fn make_scratch(url: &str) -> Result<String> {
    run(url, sql::SCRATCH_MAKE).await.map(|()| beside(url))
}

/// Drops it, even with open connections.
///
/// # Errors
/// Those of the server.
pub async fn drop_scratch(url: &str) -> Result<()> {
    run(url, sql::SCRATCH_DROP).await
}

async fn run(url: &str, statement: &'static str) -> Result<()> {
    let pool = pool(&PostgresUrl::parse(url)?, 1)?;
    let mut session = session(&pool)
        .await
        .map_err(|fault| fault.into_error("scratch"))?;
    // Neither statement can be in a transaction.
    let done = session.raw().batch_execute(statement).await;
    done.map_err(refused)
}

fn refused(cause: tokio_postgres::Error) -> Error {
    let (kind, context) = match cause.code() {
        Some(&SqlState::DUPLICATE_DATABASE) => (
            ErrorKind::Conflict,
            format!(
                "--database-url: the server has a database {DATABASE}: another measurement is running, or was interrupted; wait for \
                 it, or drop that database"
            ),
        ),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => (
            ErrorKind::Unsupported,
            "--database-url: its role may not make databases, and a measurement never uses one that is there: give a role with \
             CREATEDB"
                .to_owned(),
        ),
        _ => return PostgresFault::from(cause).into_error("scratch"),
    };
    Error::caused(kind, NAME, "scratch", context, cause)
}

/// The same URL with the name of the scratch database.
fn beside(url: &str) -> String {
    let (base, query) = url
        .split_once('?')
        .map_or((url, None), |(base, query)| (base, Some(query)));
    let (scheme, rest) = base.split_once("://").unwrap_or(("postgres", base));
    let server = rest.split_once('/').map_or(rest, |(server, _)| server);
    let mut beside = format!("{scheme}://{server}/{DATABASE}");
    if let Some(query) = query {
        beside = format!("{beside}?{query}");
    }
    beside
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn only_the_name_of_the_database_changes() {
        for (url, expected) in [
            (
                "postgres://me:p%2Fw@h:1/chats?sslmode=require",
                "postgres://me:p%2Fw@h:1/guestbook_bench?sslmode=require",
            ),
            ("postgresql://a,b", "postgresql://a,b/guestbook_bench"),
            ("postgres://h/", "postgres://h/guestbook_bench"),
        ] {
            assert_eq!(beside(url), expected);
        }
    }
}
