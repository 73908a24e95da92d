//! `guestbook search`: which messages of a guest, of a user or of everyone answer best.

use super::data_source::{DataSource, here};
use super::printed::is_command;
use super::{CliError, MISSING, StoreUrls, remote};
use crate::config::{Cli, SearchArgs};
use crate::console;
use guestbook_core::{
    GuestId, Hit, InvalidField, Limit, ModelId, OwnerId, SearchMode, SearchResults, SearchText,
    Words,
};
use guestbook_service::Service;
use guestbook_storage::database::{SearchQuery, SearchScope};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::process::ExitCode;

/// Why everything cannot be searched without a server.
const NO_INDEX: &str = "everything is searched by the index of a running server, and none has this data folder: start one with \
    `guestbook serve`, or say whose messages to look at: --guest ID or --user ID";
/// Characters of a message that are shown; `--json` shows all.
const SHOWN: usize = 100;

/// The search, checked before a server or file is opened.
pub(super) struct SearchQuestion {
    /// `None`: everything.
    pub(super) scope: Option<SearchScope>,
    pub(super) text: SearchText,
    pub(super) mode: SearchMode,
    pub(super) k: Limit,
}

/// The answer, as a server gives it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct SearchResponse {
    /// How far the index over everything is, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<String>,
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    searched: u64,
    of: u64,
    hits: Vec<FoundMessage>,
}

#[derive(Debug, Deserialize, Serialize)]
struct FoundMessage {
    message_id: String,
    /// The id that the client chose, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    conversation_id: String,
    sequence: u64,
    role: String,
    content: String,
    timestamp: String,
    score: f32,
}

pub(super) async fn run(cli: &Cli, args: &SearchArgs) -> Result<ExitCode, CliError> {
    let question = SearchQuestion::of(args)?;
    let is_one_chat = matches!(question.scope, Some(SearchScope::Guest(_)));
    let places = StoreUrls::of(cli)?;
    let found = match DataSource::of(&places)? {
        DataSource::Server(address) => remote::search(cli, &address, &question).await?,
        DataSource::Here(_folder) => {
            let scope = question.scope.clone().ok_or(NO_INDEX)?;
            let look = async |service: &Service| ask(service, scope, question).await;
            here(cli, &places, look).await?
        }
    };
    if args.json {
        let text = serde_json::to_string_pretty(&found)
            .map_err(|cause| format!("the answer cannot be written: {cause}"))?;
        console::print(|out| writeln!(out, "{text}"))?;
    } else {
        console::print(|out| show(out, &found, is_one_chat))?;
    }
    Ok(match found.hits.is_empty() {
        false => ExitCode::SUCCESS,
        true => ExitCode::from(MISSING),
    })
}

impl SearchQuestion {
    fn of(args: &SearchArgs) -> Result<Self, CliError> {
        let fault = |fault: InvalidField| fault.to_string();
        let scope = match (&args.guest, &args.user) {
            (Some(guest), _) => {
                let guest = GuestId::parse_stored(guest);
                let guest = guest.map_err(|fault| format!("--guest: {fault}"))?;
                Some(SearchScope::Guest(guest))
            }
            (None, Some(user)) => {
                let user = OwnerId::parse_stored("--user", user).map_err(fault)?;
                Some(SearchScope::User(user))
            }
            (None, None) => None,
        };
        Ok(Self {
            scope,
            text: SearchText::parse("TEXT", &args.text).map_err(fault)?,
            mode: args.mode,
            k: Limit::new("--k", args.k).map_err(fault)?,
        })
    }
}

async fn ask(
    service: &Service,
    scope: SearchScope,
    question: SearchQuestion,
) -> Result<SearchResponse, CliError> {
    let (model, sought) = match question.mode {
        SearchMode::Text => {
            let words = Words::of("TEXT", &question.text).map_err(|fault| fault.to_string())?;
            (None, SearchQuery::Text(words))
        }
        SearchMode::Meaning => {
            let seen = service.embed_query(&question.text).await;
            let (model, vector) = seen.map_err(|unseen| format!("TEXT: {unseen}"))?;
            (Some(model.clone()), SearchQuery::Meaning { model, vector })
        }
    };
    let found = service.search(scope, sought, question.k).await;
    let found = found.map_err(|error| error.to_string())?;
    Ok(SearchResponse::new(question.mode, model.as_ref(), found))
}

impl SearchResponse {
    fn new(mode: SearchMode, model: Option<&ModelId>, found: SearchResults) -> Self {
        Self {
            index: None,
            mode: mode.to_string(),
            model: model.map(ModelId::to_string),
            searched: found.searched,
            of: found.of,
            hits: found.hits.iter().map(FoundMessage::from).collect(),
        }
    }
}

impl From<&Hit> for FoundMessage {
    fn from(hit: &Hit) -> Self {
        Self {
            message_id: hit.message.to_string(),
            id: hit.external_id.as_deref().map(str::to_owned),
            conversation_id: hit.conversation.to_string(),
            sequence: hit.sequence,
            role: hit.role.to_string(),
            content: hit.content.as_str().to_owned(),
            timestamp: hit.timestamp.to_string(),
            score: hit.score.get(),
        }
    }
}

fn show(out: &mut dyn Write, found: &SearchResponse, is_one_chat: bool) -> io::Result<()> {
    for hit in &found.hits {
        let place = match is_one_chat {
            true => format!("#{}", hit.sequence),
            false => format!("{} #{}", hit.conversation_id, hit.sequence),
        };
        writeln!(
            out,
            "{:>6.3}  {place:<6}  {:<9}  {}  {}",
            hit.score,
            hit.role,
            hit.timestamp,
            line(&hit.content)
        )?;
    }
    let (hits, searched, of) = (found.hits.len(), found.searched, found.of);
    match &found.model {
        Some(model) if found.index.as_deref() == Some("building") => writeln!(
            out,
            "{hits} found among the {searched} of {of} messages that the index has seen so far, by {model}"
        )?,
        None => writeln!(out, "{hits} found among {of} messages")?,
        Some(model) if searched == of => {
            writeln!(out, "{hits} found among {of} messages, by {model}")?
        }
        Some(model) => writeln!(
            out,
            "{hits} found among the {searched} of {of} messages that have a vector of {model}; `guestbook reembed` computes the others"
        )?,
    }
    Ok(())
}

/// The beginning of a message on one line, without anything that a terminal would take as a command.
fn line(content: &str) -> String {
    let plain = |c: char| match is_command(c) {
        true => ' ',
        false => c,
    };
    let mut line: String = content.trim().chars().map(plain).take(SHOWN).collect();
    if content.trim().chars().count() > SHOWN {
        line.push('…');
    }
    line
}
