//! `guestbook sql`: one read-only statement. An sqlite3 shell of another version must not open a file in use: before
//! SQLite 3.51.3 two connections could damage the write-ahead log.

use super::{Places, Refusal, written};
use crate::config::Cli;
use crate::storage::open::query;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

pub(super) async fn run(cli: &Cli, statement: &str) -> Result<ExitCode, Refusal> {
    let places = Places::of(cli)?;
    places.require_tables()?;
    let found = query(&places.database, statement)
        .await
        .map_err(|error| error.to_string())?;
    written(print(&found.columns, &found.rows))?;
    Ok(ExitCode::SUCCESS)
}

fn print(names: &[String], rows: &[Vec<Option<String>>]) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(out, "{}", names.join("|"))?;
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .map(|cell| cell.as_deref().unwrap_or("NULL"))
            .collect();
        writeln!(out, "{}", cells.join("|"))?;
    }
    out.flush()
}
