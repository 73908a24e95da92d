//! `guestbook sql`: one read-only statement. An sqlite3 shell of another version must not open a file in use: before
//! SQLite 3.51.3 two connections could damage the write-ahead log.

use super::{Places, Refusal};
use crate::config::Cli;
use crate::storage::open::query;
use std::process::ExitCode;

pub(super) fn run(cli: &Cli, statement: &str) -> Result<ExitCode, Refusal> {
    let places = Places::of(cli)?;
    places.require_tables()?;
    let found = query(&places.database, statement).map_err(|error| error.to_string())?;
    println!("{}", found.columns.join("|"));
    for row in found.rows {
        let cells: Vec<_> = row
            .iter()
            .map(|cell| cell.as_deref().unwrap_or("NULL"))
            .collect();
        println!("{}", cells.join("|"));
    }
    Ok(ExitCode::SUCCESS)
}
