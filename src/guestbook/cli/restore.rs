//! `guestbook restore`: the tables of a data folder from a backup.

use super::{CliError, StoreUrls, backup_progress};
use crate::config::Cli;
use crate::open::restore;
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) async fn run(cli: &Cli, path: PathBuf) -> Result<ExitCode, CliError> {
    let places = StoreUrls::of(cli)?;
    if !path.exists() {
        // Said before the data folder is made.
        return Err(format!("there is no file {}", path.display()));
    }
    // Tables that are elsewhere are refused, and need no folder.
    let _folder = match places.database.folder() {
        Some(_) => places.lock().map_err(|taken| taken.to_string())?,
        None => None,
    };
    let into = places.database.clone();
    let lists = "the lists are rebuilt at the next start";
    let shown = into.folder().unwrap_or_else(|| "".as_ref()).display();
    let said = |restored| format!("restored {restored} into {shown}; {lists}");
    backup_progress::copy(move |watch| restore(&places.database, &path, watch), said).await?;
    Ok(ExitCode::SUCCESS)
}
