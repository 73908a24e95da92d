//! `guestbook backup`: the tables in one file, while a server goes on writing them. That one need not know: this process
//! reads its file as `guestbook sql` does.

use super::{Places, Refusal, copying, written};
use crate::config::Cli;
use crate::storage::open::{DatabaseUrl, save};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) async fn run(cli: &Cli, path: PathBuf) -> Result<ExitCode, Refusal> {
    let places = Places::of(cli)?;
    if places.database != DatabaseUrl::Memory {
        places.require_tables()?;
    }
    let shown = path.display().to_string();
    let saved = copying::copy(move |watch| save(&places.database, &path, watch)).await?;
    written(writeln!(io::stdout(), "saved {saved}: {shown}"))?;
    Ok(ExitCode::SUCCESS)
}
