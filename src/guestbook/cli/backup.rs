//! `guestbook backup`: the tables in one file, while a server goes on writing them. That one need not know: this process
//! reads its file as `guestbook sql` does.

use super::{CliError, StoreUrls, backup_progress};
use crate::config::Cli;
use crate::open::{DatabaseUrl, save};
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) async fn run(cli: &Cli, path: PathBuf) -> Result<ExitCode, CliError> {
    let places = StoreUrls::of(cli)?;
    if places.database != DatabaseUrl::Memory {
        places.require_tables()?;
    }
    let shown = path.display().to_string();
    let said = |saved| format!("saved {saved}: {shown}");
    backup_progress::copy(move |watch| save(&places.database, &path, watch), said).await?;
    Ok(ExitCode::SUCCESS)
}
