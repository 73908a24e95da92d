//! `guestbook restore`: the tables of a data folder from a backup.

use super::{Places, Refusal, copying, written};
use crate::config::Cli;
use crate::storage::open::restore;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) async fn run(cli: &Cli, path: PathBuf) -> Result<ExitCode, Refusal> {
    let places = Places::of(cli)?;
    if !path.exists() {
        // Said before the data folder is made.
        return Err(format!("there is no file {}", path.display()));
    }
    // Tables that are elsewhere are refused, and need no folder.
    let folder = match places.database.folder() {
        Some(_) => places.lock().map_err(|taken| taken.to_string())?,
        None => None,
    };
    let into = places.database.clone();
    let restored = copying::copy(move |watch| restore(&places.database, &path, watch)).await?;
    drop(folder);
    let lists = "the lists are rebuilt at the next start";
    let shown = into.folder().unwrap_or_else(|| "".as_ref()).display();
    written(writeln!(
        io::stdout(),
        "restored {restored} into {shown}; {lists}"
    ))?;
    Ok(ExitCode::SUCCESS)
}
