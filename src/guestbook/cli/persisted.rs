//! The settings that are stored with the data, as a process is to have them: on stores of its own by its flags, on shared
//! ones by what is stored, and then a flag may only say the same.

use super::{CliError, StoreUrls};
use crate::config::{Cli, TextIndex, duration, retention};
use crate::embedder::{BadSpec, EmbedderSpec};
use crate::open::{are_shared, is_networked, stored_settings};
use clap::ValueEnum;
use guestbook_core::{Clock, SystemClock, Ttl};
use guestbook_embed::Embedder;
use guestbook_embed::openai::OpenAiOptions;
use guestbook_service::ServiceParts;
use guestbook_storage::database::{Persisted, PersistedSettings, refused};
use std::sync::Arc;
use std::time::Duration;

const MODEL: &str = "text-embedding-3-small";
const DIMENSION: usize = 1536;

/// The settings of this process.
pub(super) struct GivenSettings {
    pub(super) list_ttl: Ttl,
    pub(super) retention: Option<Duration>,
    pub(super) text_index: bool,
    spec: EmbedderSpec,
    options: OpenAiOptions,
    /// What is stored, where that is to be kept to.
    held: Option<PersistedSettings>,
    is_shared: bool,
}

impl StoreUrls {
    /// Whether what is stored holds for other processes, too.
    pub(super) fn are_shared(&self) -> bool {
        are_shared(&self.database, &self.cache)
    }

    /// Whether all nodes have the same lists.
    pub(super) fn have_common_lists(&self) -> bool {
        is_networked(&self.cache)
    }
}

impl GivenSettings {
    /// What the flags say, and where they say nothing, what is stored for all nodes or the default.
    pub(super) async fn of(cli: &Cli, places: &StoreUrls) -> Result<Self, CliError> {
        let is_shared = places.are_shared();
        let held = match is_shared {
            true => {
                stored_settings(&places.database)
                    .await
                    .map_err(|error| error.to_string())?
                    .held
            }
            false => None,
        };
        let told = Self::by(cli, held, is_shared);
        told.require_agreement(cli)?;
        Ok(told)
    }

    /// What is stored, whatever the flags say.
    pub(super) fn stored(cli: &Cli, held: Option<PersistedSettings>) -> Self {
        let mut silent = cli.clone();
        silent.stores.list_ttl = None;
        silent.stores.retention = None;
        silent.embedding.text_index = None;
        silent.embedding.embedder = None;
        Self::by(&silent, held, true)
    }

    fn by(cli: &Cli, held: Option<PersistedSettings>, is_shared: bool) -> Self {
        let (stores, embedding) = (&cli.stores, &cli.embedding);
        let other = held.as_ref();
        let stored_spec = other.and_then(|held| held.embedder.as_deref());
        let (spec, model, dimension) = match (&embedding.embedder, stored_spec) {
            (None, Some(text)) => read_spec(text),
            (spec, _) => (spec.clone().unwrap_or_default(), None, None),
        };
        let list_ttl = stores.list_ttl.map(Ttl);
        let text_index = embedding.text_index.map(|it| it == TextIndex::On);
        Self {
            list_ttl: list_ttl.unwrap_or(other.map_or(Ttl::DEFAULT, |held| held.list_ttl)),
            retention: stores
                .retention
                .map_or(other.and_then(|held| held.retention), |it| it.0),
            text_index: text_index.unwrap_or(other.is_some_and(|held| held.text_index)),
            options: OpenAiOptions {
                model: embedding
                    .embedder_model
                    .clone()
                    .or(model)
                    .unwrap_or_else(|| MODEL.into()),
                dimension: embedding
                    .embedder_dimension
                    .or(dimension)
                    .unwrap_or(DIMENSION),
                api_key: embedding.embedder_key.clone(),
                timeout: embedding.embedder_timeout,
            },
            spec,
            held,
            is_shared,
        }
    }

    /// What is to be stored for all nodes with one setting as it was written after its name. Nothing but a new embedder is
    /// opened: the model of the nodes need not be on this machine.
    pub(super) fn changed(
        mut self,
        mut held: PersistedSettings,
        which: Persisted,
        value: &str,
    ) -> Result<PersistedSettings, CliError> {
        let wrong = |cause: String| format!("{which} {value}: {cause}");
        match which {
            Persisted::ListTtl => held.list_ttl = Ttl(duration(value).map_err(wrong)?),
            Persisted::Retention => held.retention = retention(value).map_err(wrong)?.0,
            Persisted::TextIndex => {
                let read = TextIndex::from_str(value, false).map_err(|_| "it is on or off".into());
                held.text_index = read.map_err(wrong)? == TextIndex::On;
            }
            Persisted::Embedder => {
                let spec = value.parse();
                self.spec = spec.map_err(|cause: BadSpec| wrong(cause.to_string()))?;
                held.set(which, &self.as_stored()?);
            }
        }
        Ok(held)
    }

    fn as_stored(&self) -> Result<PersistedSettings, CliError> {
        let embedder = self.open_embedder()?;
        Ok(PersistedSettings {
            list_ttl: self.list_ttl,
            retention: self.retention,
            text_index: self.text_index,
            model: embedder.map_or_else(|| "none".to_owned(), |it| it.model().to_string()),
            embedder: self.embedder(),
        })
    }

    pub(super) fn open_embedder(&self) -> Result<Option<Arc<dyn Embedder>>, CliError> {
        let opened = crate::embedder::open(&self.spec, self.options.clone());
        opened.map_err(|cause| format!("--embedder {}: {cause}", self.spec))
    }

    /// What opens the embedder, for nodes started without `--embedder`; a URL with a query may hold a key and is not stored.
    pub(super) fn embedder(&self) -> Option<String> {
        let text = self.spec.to_string();
        let is_whole = text.parse::<EmbedderSpec>().is_ok_and(|it| it == self.spec);
        let options = &self.options;
        is_whole.then(|| match self.spec {
            EmbedderSpec::OpenAi(_) => format!("{text} {} {}", options.model, options.dimension),
            _ => text,
        })
    }

    /// Lets other nodes know what opens the embedder, where nobody has said it yet.
    pub(super) async fn note_embedder(&self, parts: &ServiceParts) -> Result<(), CliError> {
        if !self.is_shared {
            return Ok(());
        }
        let database = &parts.database;
        let stored = database.settings.stored_settings().await;
        let held = stored.map_err(|error| error.to_string())?.held;
        let Some(held) = held.filter(|held| held.embedder.is_none()) else {
            return Ok(());
        };
        let wanted = PersistedSettings {
            embedder: self.embedder(),
            ..held
        };
        if wanted.embedder.is_none() {
            return Ok(());
        }
        let noted =
            database
                .settings
                .change_setting(Persisted::Embedder, wanted, SystemClock.now());
        noted.await.map_err(|error| error.to_string())
    }

    /// That no flag says anything else than what is stored for all nodes.
    fn require_agreement(&self, cli: &Cli) -> Result<(), CliError> {
        let Some(held) = &self.held else {
            return Ok(());
        };
        let told = self.as_stored()?;
        match told.differs(held) {
            None => Ok(()),
            Some(Persisted::Embedder) if cli.embedding.embedder.is_none() => Err(format!(
                "the embedder of all nodes of this database is {}, and how to open it is not stored: give the --embedder \
                 (GUESTBOOK_EMBEDDER) of the other nodes, or change it for all of them with `guestbook settings set embedder {}`",
                held.value(Persisted::Embedder),
                self.spec
            )),
            Some(which) => Err(refused(which, &told.value(which), &held.value(which))
                .context()
                .to_owned()),
        }
    }
}

/// Reads what [`GivenSettings::embedder`] wrote: the embedder, its model and its dimensions. What another version wrote is `static`.
fn read_spec(text: &str) -> (EmbedderSpec, Option<String>, Option<usize>) {
    if !text.starts_with("openai:") {
        return (text.parse().unwrap_or_default(), None, None);
    }
    let mut words = text.split_whitespace();
    let spec = words.next().and_then(|word| word.parse().ok());
    let model = words.next().map(str::to_owned);
    let dimension = words.next().and_then(|word| word.parse().ok());
    (spec.unwrap_or_default(), model, dimension)
}
