//! `guestbook sql`: one read-only statement. An sqlite3 shell of another version must not open a file in use: before
//! SQLite 3.51.3 two connections could damage the write-ahead log.

use super::{Places, Refusal};
use crate::config::Cli;
use crate::console;
use crate::storage::open::query;
use std::io::{self, Write};
use std::process::ExitCode;

pub(super) async fn run(cli: &Cli, statement: &str) -> Result<ExitCode, Refusal> {
    let places = Places::of(cli)?;
    places.require_tables()?;
    let found = query(&places.database, statement)
        .await
        .map_err(|error| error.to_string())?;
    console::print(|out| show(out, &found.columns, &found.rows))?;
    Ok(ExitCode::SUCCESS)
}

fn show(out: &mut dyn Write, names: &[String], rows: &[Vec<Option<String>>]) -> io::Result<()> {
    writeln!(out, "{}", names.join("|"))?;
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .map(|cell| cell.as_deref().unwrap_or("NULL"))
            .collect();
        writeln!(out, "{}", cells.join("|"))?;
    }
    Ok(())
}
