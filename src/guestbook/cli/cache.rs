//! `guestbook cache`: what the answers to prompts were good for, and removing them.

use super::data_source::{DataSource, here};
use super::{CliError, StoreUrls, remote};
use crate::config::{CacheAction, Cli};
use crate::console;
use guestbook_core::PromptScope;
use guestbook_http::StatsResponse;
use guestbook_service::Service;
use std::io::{self, Write};
use std::process::ExitCode;

/// What stands for every scope, as over HTTP.
const EVERY: &str = "*";

pub(super) async fn run(cli: &Cli, action: &CacheAction) -> Result<ExitCode, CliError> {
    match action {
        CacheAction::Stats { json } => stats(cli, *json).await?,
        CacheAction::Clear { scope } => clear(cli, scope.as_deref()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn stats(cli: &Cli, json: bool) -> Result<(), CliError> {
    let places = StoreUrls::of(cli)?;
    let stats = match DataSource::of(&places)? {
        DataSource::Server(address) => remote::prompt_stats(cli, &address).await?,
        DataSource::Here(_folder) => {
            here(cli, &places, async |service| service.prompt_stats().await)
                .await
                .map(StatsResponse::from)?
        }
    };
    if json {
        let text = serde_json::to_string_pretty(&stats)
            .map_err(|cause| format!("the statistics cannot be written: {cause}"))?;
        return console::print(|out| writeln!(out, "{text}"));
    }
    console::print(|out| show(out, &stats))
}

async fn clear(cli: &Cli, scope: Option<&str>) -> Result<(), CliError> {
    let parsed = scope.map(PromptScope::parse).transpose();
    let scope = parsed.map_err(|fault| format!("--scope: {fault}"))?;
    let places = StoreUrls::of(cli)?;
    let removed = match DataSource::of(&places)? {
        DataSource::Server(address) => {
            let named = scope
                .as_ref()
                .map_or_else(|| EVERY.to_owned(), PromptScope::to_string);
            remote::forget(cli, &address, &named).await?
        }
        DataSource::Here(_folder) => {
            let forget = async |service: &Service| service.forget(scope.as_ref()).await;
            here(cli, &places, forget).await?
        }
    };
    let of = scope.map_or_else(|| "all scopes".to_owned(), |scope| scope.to_string());
    console::print(|out| writeln!(out, "{removed} answers of {of} removed"))
}

fn show(out: &mut dyn Write, stats: &StatsResponse) -> io::Result<()> {
    writeln!(
        out,
        "answers    {} in {} scopes, {} of them for similar prompts, too; {} have expired",
        stats.entries, stats.scopes, stats.semantic, stats.expired
    )?;
    writeln!(
        out,
        "size       {:.1} MiB",
        stats.bytes as f64 / 1_048_576.0
    )?;
    writeln!(
        out,
        "lookups    {} answered, {} not: {:.1} %",
        stats.cache_hits,
        stats.cache_misses,
        100.0 * stats.hit_rate
    )?;
    writeln!(
        out,
        "saved      {} tokens, {:.1} s of generation",
        stats.tokens_saved,
        stats.generation_time_saved / 1000.0
    )
}
