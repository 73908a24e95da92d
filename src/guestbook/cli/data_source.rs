//! Who answers a command that looks at the data: the server that has it, or we ourselves.

use super::data_dir::{DataDir, LockError};
use super::{CliError, StoreUrls};
use crate::config::Cli;
use crate::open::OpenMode;
use guestbook_http::ServerAddress;
use guestbook_service::Service;

/// Where the data of a command comes from.
pub(super) enum DataSource {
    /// The server that has the folder.
    Server(ServerAddress),
    /// We, who have the folder, if there is one, as long as this lives.
    Here(Option<DataDir>),
}

impl DataSource {
    /// Finds out, and takes the folder if nobody has it.
    pub(super) fn of(places: &StoreUrls) -> Result<Self, CliError> {
        places.require_tables()?;
        match places.lock() {
            Ok(folder) => Ok(Self::Here(folder)),
            Err(LockError::InUse {
                address: Some(address),
                ..
            }) => Ok(Self::Server(address)),
            Err(taken) => Err(taken.to_string()),
        }
    }
}

/// Opens without serving: nothing is reconciled that was not asked for.
pub(super) async fn here<R, E: ToString>(
    cli: &Cli,
    places: &StoreUrls,
    look: impl AsyncFnOnce(&Service) -> Result<R, E>,
) -> Result<R, CliError> {
    let parts = places.open(cli, OpenMode::Inspect).await?;
    let service = Service::inspect(parts, cli.service_settings());
    let answer = look(&service).await;
    let stopped = service.stop().await;
    let answer = answer.map_err(|error| error.to_string())?;
    stopped.map_err(|error| error.to_string())?;
    Ok(answer)
}
