//! `guestbook sql`: one read-only statement. An sqlite3 shell of another version must not open a file in use: before
//! SQLite 3.51.3 two connections could damage the write-ahead log.

use super::{Places, Refusal};
use crate::config::Cli;
use crate::storage::open::{DatabaseUrl, query};
use std::process::ExitCode;

pub(super) fn run(cli: &Cli, statement: &str) -> Result<ExitCode, Refusal> {
    let url = Places::of(cli)?.database;
    if let DatabaseUrl::Sqlite(path) = &url
        && !path.exists()
    {
        return Err(format!(
            "there is no database at {}; start `guestbook` once, or check --data-dir",
            path.display()
        ));
    }
    let found = query(&url, statement).map_err(|error| error.to_string())?;
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
