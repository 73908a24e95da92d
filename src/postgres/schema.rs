//! Migrates the schema, and reads the database's metadata. Any number of nodes may start at once: the first takes a lock, the
//! others wait for it and find everything done.

use super::error::{Attempt, PostgresFault, of_server};
use super::rows::text;
use super::session::{BeginMode, EndMode, PooledConnection, statement};
use super::{NAME, sql};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_storage::schema::{Unknown, WRITTEN_BY};
use guestbook_storage::{Durability, DurabilityReport};
use refinery::error::Kind;
use refinery::{Migration, Runner};
use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

const MIGRATE: &str = "migrate schema";
/// Numbered, never edited once released; refinery keeps their checksums and refuses a database whose history differs.
const MIGRATIONS: &[(&str, &str)] = &[
    (
        "V1__tables",
        include_str!("../../schema/postgres/001_tables.sql"),
    ),
    (
        "V2__functions",
        include_str!("../../schema/postgres/002_functions.sql"),
    ),
    (
        "V3__vectors_by_time",
        include_str!("../../schema/postgres/003_vectors_by_time.sql"),
    ),
    (
        "V4__prompts",
        include_str!("../../schema/postgres/004_prompts.sql"),
    ),
    (
        "V5__external_ids",
        include_str!("../../schema/postgres/005_external_ids.sql"),
    ),
];

/// An open transaction, for refinery. Refinery's own driver begins one transaction per step, so a lock would not survive a
/// pooler, and names its statements, which a pooler mixes up.
struct OpenTransaction<'a>(&'a Client);

impl AsyncTransaction for OpenTransaction<'_> {
    type Error = tokio_postgres::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> std::result::Result<usize, Self::Error> {
        let mut count = 0;
        for query in queries {
            self.0.batch_execute(query).await?;
            count += 1;
        }
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for OpenTransaction<'_> {
    async fn query<'a>(
        &'a mut self,
        query: &'a str,
    ) -> std::result::Result<Vec<Migration>, Self::Error> {
        let answered = self.0.simple_query(query).await?;
        Ok(answered.iter().filter_map(applied).collect())
    }
}

impl AsyncMigrate for OpenTransaction<'_> {}

/// A row of refinery's own table; an unreadable one counts as missing.
fn applied(message: &SimpleQueryMessage) -> Option<Migration> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    let version = row.get(0)?.parse().ok()?;
    let at = OffsetDateTime::parse(row.get(2)?, &Rfc3339).ok()?;
    let checksum = row.get(3)?.parse().ok()?;
    Some(Migration::applied(
        version,
        row.get(1)?.to_owned(),
        at,
        checksum,
    ))
}

/// Migrates the schema and returns the epoch, in one transaction that other nodes wait for.
pub(super) async fn prepare(mut session: PooledConnection) -> Result<Uuid> {
    let fault = |fault: PostgresFault| fault.into_error("open");
    let begun = [statement!(sql::SCHEMA_LOCK)];
    session
        .transact(BeginMode::LongWrite, &begun, EndMode::Open)
        .await
        .map_err(fault)?;
    if run(&mut session).await? {
        let version = env!("CARGO_PKG_VERSION");
        let noted = [statement!(sql::META_PUT; WRITTEN_BY => TEXT, version => TEXT)];
        session.go_on(&noted, EndMode::Open).await.map_err(fault)?;
    }
    guestbook_failpoint::reach("schema.mid");
    let epoch = epoch(&mut session).await.map_err(fault)?;
    session.go_on(&[], EndMode::Commit).await.map_err(fault)?;
    Ok(epoch)
}

/// Runs the migrations; returns whether there were any.
async fn run(session: &mut PooledConnection) -> Result<bool> {
    let known = |(name, sql): &(&str, &str)| Migration::unapplied(name, sql);
    let migrations: std::result::Result<Vec<_>, _> = MIGRATIONS.iter().map(known).collect();
    let ran = match migrations {
        Ok(migrations) => {
            let runner = Runner::new(&migrations)
                .set_abort_missing(true)
                .set_abort_divergent(true);
            runner.run_async(&mut OpenTransaction(session.raw())).await
        }
        Err(cause) => Err(cause),
    };
    match ran {
        Ok(report) => Ok(!report.applied_migrations().is_empty()),
        Err(cause) => Err(refused(session, cause).await),
    }
}

async fn refused(session: &mut PooledConnection, cause: refinery::Error) -> Error {
    match cause.kind() {
        // The server's own words are the best explanation of a refusal.
        Kind::Connection(_, source) if let Some(db_error) = source.downcast_ref() => {
            of_server(MIGRATE, db_error)
        }
        Kind::MissingVersion(found) | Kind::DivergentVersion(found, _) => {
            let number = usize::try_from(found.version()).unwrap_or(0);
            let (known, found) = (MIGRATIONS.len(), format!("{number} ({})", found.name()));
            let unknown = match number > known {
                true => Unknown::Newer { found, known },
                false => Unknown::Other { found },
            };
            let statements = [statement!(sql::META_GET; WRITTEN_BY => TEXT)];
            let rows = session
                .go_on(&statements, EndMode::Open)
                .await
                .unwrap_or_default();
            let by = rows.first().and_then(|rows| rows.first());
            let by = by.and_then(|row| text(row, 0).ok());
            let context = unknown.context(by, "another database");
            Error::new(ErrorKind::Unsupported, NAME, MIGRATE, context)
        }
        _ => {
            let context = "the schema of the database could not be brought up to date";
            Error::caused(ErrorKind::Unsupported, NAME, MIGRATE, context, cause)
        }
    }
}

async fn epoch(session: &mut PooledConnection) -> Attempt<Uuid> {
    let fresh = Uuid::new_v4().to_string();
    let key = "store_epoch";
    let statements = [
        statement!(sql::META_BEGIN; key => TEXT, fresh => TEXT),
        statement!(sql::META_GET; key => TEXT),
    ];
    let rows = session.go_on(&statements, EndMode::Open).await?;
    let stored = rows[1]
        .first()
        .ok_or(PostgresFault::Row("store_epoch is gone".into()))?;
    Uuid::parse_str(text(stored, 0)?)
        .map_err(|cause| PostgresFault::Row(format!("store_epoch: {cause}")))
}

/// The server settings that determine what survives a crash.
const DURABILITY: [&str; 3] = ["fsync", "full_page_writes", "synchronous_commit"];

/// Server settings under which an acknowledged commit could be lost in a crash, each with its effect.
pub(super) async fn problems(session: PooledConnection) -> Attempt<Vec<String>> {
    let settings = settings(session).await?;
    let off = DURABILITY
        .into_iter()
        .zip(&settings)
        .filter(|(_, is)| *is == "off");
    Ok(off.map(|(name, _)| format!("{name} is off")).collect())
}

/// What survives a crash of the server.
pub(super) async fn durability(session: PooledConnection) -> Attempt<DurabilityReport> {
    let settings = settings(session).await?;
    let level = match settings.each_ref().map(String::as_str) {
        ["off", _, _] | [_, "off", _] => Durability::Nothing,
        [_, _, "off"] => Durability::Normal,
        _ => Durability::Full,
    };
    let named: Vec<_> = DURABILITY
        .into_iter()
        .zip(&settings)
        .map(|(name, is)| format!("{name}={is}"))
        .collect();
    Ok(DurabilityReport::new(level, named.join(" ")))
}

async fn settings(mut session: PooledConnection) -> Attempt<[String; 3]> {
    let rows = session
        .transact(
            BeginMode::Read,
            &[statement!(sql::DURABILITY)],
            EndMode::Commit,
        )
        .await?;
    let row = rows[0]
        .first()
        .ok_or(PostgresFault::Row("no settings".into()))?;
    let setting = |at| text(row, at).map(str::to_owned);
    Ok([setting(0)?, setting(1)?, setting(2)?])
}
