//! `guestbook bench`: lends the backends of this program to the bench.

use super::serve::StopSignals;
use super::{CliError, StoreUrls};
use crate::config::{BenchArgs, Cli};
use crate::open::{CacheUrl, DatabaseUrl, OpenMode, drop_scratch, lists, make_scratch};
use async_trait::async_trait;
use guestbook_bench::{Backends, BenchOptions, StoreSettings};
use guestbook_core::error::Error;
use guestbook_service::ServiceParts;
use guestbook_storage::ListCache;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

pub(super) async fn run(cli: &Cli, args: &BenchArgs) -> Result<ExitCode, CliError> {
    let mut stop = StopSignals::new()?;
    let stores = StoreSettings {
        data_dir: cli.stores.data_dir.clone(),
        // There a server of this folder has its data.
        is_default_dir: cli.stores.data_dir == Path::new("./guestbook-data"),
        database_url: cli.stores.database_url.clone(),
        cache_url: cli.stores.cache_url.clone(),
        durability: cli.stores.durability,
        embedder: cli.embedding.embedder().to_string(),
        list_ttl: cli.stores.list_ttl(),
    };
    let options = BenchOptions::from(args);
    let backends = Arc::new(OurBackends(cli.clone()));
    let interrupted = async {
        stop.received().await;
    };
    let shown = guestbook_bench::run(backends, stores, &options, interrupted).await?;
    stop.print(shown).await?;
    Ok(ExitCode::SUCCESS)
}

/// Every backend of this build, with the settings of this process.
#[derive(Debug)]
struct OurBackends(Cli);

#[async_trait]
impl Backends for OurBackends {
    fn database_of(&self, url: &str) -> Result<&'static str, CliError> {
        let url = DatabaseUrl::parse(url).map_err(|error| error.context().to_owned())?;
        Ok(url.backend())
    }

    fn cache_of(&self, url: &str) -> Result<&'static str, CliError> {
        let url = CacheUrl::parse(url).map_err(|error| error.context().to_owned())?;
        Ok(url.backend())
    }

    async fn make_scratch(&self, url: &str) -> Result<String, CliError> {
        make_scratch(url).await.map_err(shown)
    }

    async fn drop_scratch(&self, url: &str) -> Result<(), CliError> {
        drop_scratch(url).await.map_err(shown)
    }

    async fn lists(&self, url: &str) -> Result<Arc<dyn ListCache>, CliError> {
        let url = CacheUrl::parse(url).map_err(shown)?;
        lists(&url).await.map_err(shown)
    }

    async fn open(&self, settings: &StoreSettings) -> Result<ServiceParts, CliError> {
        let mut cli = self.0.clone();
        cli.stores.data_dir.clone_from(&settings.data_dir);
        cli.stores.database_url.clone_from(&settings.database_url);
        cli.stores.cache_url.clone_from(&settings.cache_url);
        cli.stores.durability = settings.durability;
        StoreUrls::of(&cli)?.open(&cli, OpenMode::Serve).await
    }
}

fn shown(cause: Error) -> CliError {
    cause.to_string()
}
