//! `guestbook settings`: the settings that are stored with the data, and changing one for all nodes.

use super::persisted::GivenSettings;
use super::{CliError, StoreUrls, refusal};
use crate::config::{Cli, SettingName, SettingsAction};
use crate::console;
use crate::open::{self, OpenMode, stored_settings};
use guestbook_core::{Clock, SystemClock};
use guestbook_service::{ServiceParts, carry_out};
use guestbook_storage::database::{Persisted, StoredSettings};
use serde_json::json;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

pub(super) async fn run(
    cli: &Cli,
    action: Option<&SettingsAction>,
    json: bool,
) -> Result<ExitCode, CliError> {
    let places = StoreUrls::of(cli)?;
    places.require_tables()?;
    let stored = stored_settings(&places.database).await.map_err(refusal)?;
    match action {
        None => console::print(|out| match json {
            true => show_json(out, &stored),
            false => show(out, &stored),
        })?,
        Some(SettingsAction::Set { name, value }) => {
            set(cli, &places, stored, (*name).into(), value).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl From<SettingName> for Persisted {
    fn from(name: SettingName) -> Self {
        match name {
            SettingName::ListTtl => Self::ListTtl,
            SettingName::Retention => Self::Retention,
            SettingName::TextIndex => Self::TextIndex,
            SettingName::Embedder => Self::Embedder,
        }
    }
}

async fn set(
    cli: &Cli,
    places: &StoreUrls,
    stored: StoredSettings,
    which: Persisted,
    value: &str,
) -> Result<(), CliError> {
    if !places.are_shared() {
        return Err(format!(
            "these tables and lists belong to one server, whose flag is the setting: start it with --{which} {value}"
        ));
    }
    let _folder = places.lock().map_err(|taken| taken.to_string())?;
    let Some(held) = stored.held else {
        return Err(format!(
            "no server has used these tables yet: start the first one with --{which} {value}"
        ));
    };
    let told = GivenSettings::stored(cli, Some(held.clone()));
    let database = places
        .open_database(cli, OpenMode::Inspect, &told, None)
        .await?;
    let before = held.value(which);
    let wanted = told.changed(held, which, value)?;
    let after = wanted.value(which);
    let mut line = format!("{which} is {after} for all nodes; it was {before}");
    let clock = Arc::new(SystemClock);
    let changed = database
        .settings
        .change_setting(which, wanted, clock.now())
        .await;
    changed.map_err(refusal)?;
    if places.have_common_lists() {
        let lists = open::lists(&places.cache).await.map_err(refusal)?;
        let parts = ServiceParts {
            database: database.clone(),
            lists,
            embedder: None,
            clock,
        };
        let given = carry_out(&parts, || true).await.map_err(|cause| {
            format!(
                "{line}, and what follows from it is not all done: {cause}; the nodes go on with it"
            )
        })?;
        if which == Persisted::ListTtl {
            line = format!("{line}; {given} lists that are there have been given it");
        }
        parts.lists.close().await.map_err(refusal)?;
    }
    database.backend.close().await.map_err(refusal)?;
    if which == Persisted::Embedder {
        line = format!(
            "{line}; restart every node without --embedder, or with this one, then run `guestbook reembed`"
        );
    }
    console::print(|out| writeln!(out, "{line}"))
}

fn show(out: &mut dyn Write, stored: &StoredSettings) -> io::Result<()> {
    let Some(held) = &stored.held else {
        return writeln!(
            out,
            "nothing is stored yet: no server has used these tables"
        );
    };
    writeln!(out, "{:<12}{:<28}{:<26}by", "setting", "value", "since")?;
    for which in Persisted::ALL {
        let since = stored.since.get(&which).cloned().unwrap_or_default();
        let value = held.value(which);
        let line = format!(
            "{:<12}{value:<28}{:<26}{}",
            which.as_str(),
            since.at,
            since.by
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    if stored.is_being_carried_out() {
        writeln!(
            out,
            "chats or lists that are there are still being given it"
        )?;
    }
    Ok(())
}

fn show_json(out: &mut dyn Write, stored: &StoredSettings) -> io::Result<()> {
    let line = |which: Persisted| {
        let held = stored.held.as_ref();
        let since = stored.since.get(&which).cloned().unwrap_or_default();
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        json!({
            "name": which.as_str(),
            "value": held.map(|held| held.value(which)),
            "since": text(since.at),
            "by": text(since.by),
        })
    };
    let settings: Vec<_> = Persisted::ALL.into_iter().map(line).collect();
    let model = stored.held.as_ref().map(|held| &held.model);
    let report = json!({
        "settings": settings,
        "embedding_model": model,
        "version": stored.version,
        "carried_out": !stored.is_being_carried_out(),
    });
    writeln!(out, "{report:#}")
}
