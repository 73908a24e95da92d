//! `guestbook verify`: "why is nothing in that table?"

use super::data_source::{DataSource, here};
use super::{CliError, MISSING, REFUSED, StoreUrls, remote};
use crate::config::Cli;
use crate::console;
use guestbook_core::GuestId;
use guestbook_service::verify::{Difference, VerifyMode, VerifyReport, VerifyScope};
use guestbook_service::{Service, ServiceParts};
use std::io::{self, Write};
use std::process::ExitCode;

/// Differences shown per table; `--json` shows more.
const SHOWN: usize = 20;

pub(super) async fn run(
    cli: &Cli,
    guest: Option<&str>,
    repair: bool,
    json: bool,
) -> Result<ExitCode, CliError> {
    let scope = match guest {
        Some(text) => VerifyScope::Guest(
            GuestId::parse_stored(text).map_err(|fault| format!("--guest: {fault}"))?,
        ),
        None => VerifyScope::All,
    };
    let places = StoreUrls::of(cli)?;
    let report = match DataSource::of(&places)? {
        DataSource::Server(address) => remote::verify(cli, &address, guest, repair).await?,
        DataSource::Here(_folder) => {
            let mode = if repair {
                VerifyMode::Repair
            } else {
                VerifyMode::Look
            };
            let look = async |service: &Service| {
                require_model(cli, service).await?;
                let report = service.verify(&scope, mode).await;
                report.map_err(|error| error.to_string())
            };
            here(cli, &places, look).await?
        }
    };
    if json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|cause| format!("the report cannot be written: {cause}"))?;
        console::print(|out| writeln!(out, "{text}"))?;
    } else {
        console::print(|out| show(out, &report))?;
    }
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else if !report.is_complete() {
        ExitCode::from(REFUSED)
    } else {
        ExitCode::from(MISSING)
    })
}

/// By another model, vectors that are right would be wrong, and a repair would compute them anew.
async fn require_model(cli: &Cli, service: &Service) -> Result<(), CliError> {
    if cli.embedding.embedder.is_some() {
        return Ok(());
    }
    let ServiceParts {
        database, embedder, ..
    } = service.parts();
    let stored = database.settings.stored_settings().await;
    let stored = stored.map_err(|error| error.to_string())?;
    let ours = embedder
        .as_ref()
        .map(|embedder| embedder.model().to_string());
    match stored.held.map(|held| held.model) {
        Some(model) if ours.as_ref() != Some(&model) => Err(format!(
            "the tables were last served with another embedder, whose model is {model}; give the --embedder of that server, or \
             the one that shall hold from now on"
        )),
        _ => Ok(()),
    }
}

fn show(out: &mut dyn Write, report: &VerifyReport) -> io::Result<()> {
    writeln!(out, "{:<24}{:>12}{:>12}   ", "table", "expected", "found")?;
    for table in &report.tables {
        let wrong = table.differences.len() as u64 + table.more_differences;
        let verdict = match wrong {
            _ if table.is_ok() => "ok".to_owned(),
            _ if table.unseen > 0 => "could not be looked at".to_owned(),
            0 => "differs".to_owned(),
            1 => "1 difference".to_owned(),
            many => format!("{many} differences"),
        };
        writeln!(
            out,
            "{:<24}{:>12}{:>12}   {verdict}",
            table.table, table.expected, table.found
        )?;
    }
    for table in report
        .tables
        .iter()
        .filter(|table| !table.differences.is_empty())
    {
        writeln!(out, "\n{}", table.table)?;
        for difference in table.differences.iter().take(SHOWN) {
            writeln!(out, "  {}", line(difference))?;
        }
        let hidden = table.differences.len().saturating_sub(SHOWN) as u64 + table.more_differences;
        if hidden > 0 {
            writeln!(
                out,
                "  … and {hidden} more; --json names up to 1,000 per table"
            )?;
        }
    }
    for what in &report.repaired {
        writeln!(out, "\nrepaired: {what}")?;
    }
    Ok(())
}

fn line(difference: &Difference) -> String {
    let mut words = Vec::new();
    words.extend(difference.owner.clone());
    words.extend(difference.sequence.map(|sequence| format!("#{sequence}")));
    words.extend(difference.id.clone());
    format!("{}: {}", words.join(" "), difference.reason)
}
