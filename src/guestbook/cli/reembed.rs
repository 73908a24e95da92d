//! `guestbook reembed`: vectors that are missing or of another model.

use super::{CliError, MISSING, StoreUrls};
use crate::config::Cli;
use crate::console;
use crate::open::OpenMode;
use guestbook_service::Service;
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;

const BAR: &str = "{bar:30} {pos}/{len} messages  {per_sec}  {eta} left";

pub(super) async fn run(cli: &Cli) -> Result<ExitCode, CliError> {
    let places = StoreUrls::of(cli)?;
    places.require_tables()?;
    let _folder = places.lock().map_err(|taken| taken.to_string())?;
    let service = Service::inspect(
        places.open(cli, OpenMode::Inspect).await?,
        cli.service_settings(),
    );
    let style = ProgressStyle::with_template(BAR)
        .map_err(|cause| format!("the progress bar cannot be drawn: {cause}"))?;
    let bar = ProgressBar::new(0).with_style(style);
    let done = service
        .reembed(|state| {
            bar.set_length(state.total);
            bar.set_position(state.done);
        })
        .await;
    bar.finish_and_clear();
    let stopped = service.stop().await;
    let done = done.map_err(|error| error.context().to_owned())?;
    stopped.map_err(|error| error.to_string())?;
    console::print(|out| {
        let (looked_at, total, failed) = (done.done, done.total, done.failed);
        writeln!(
            out,
            "{looked_at} of {total} messages looked at, {failed} failed"
        )
    })?;
    Ok(if done.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(MISSING)
    })
}
