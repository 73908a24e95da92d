//! Who answers a command that looks at the data: the server that has it, or we ourselves.

use super::data_dir::{DataDir, Taken};
use super::{Places, Refusal};
use crate::config::Cli;
use crate::open::Purpose;
use guestbook_http::ServerAddress;
use guestbook_service::Service;

/// Who is to be asked.
pub(super) enum Asked {
    /// The server that has the folder.
    Server(ServerAddress),
    /// We, who have the folder, if there is one, as long as this lives.
    Here(Option<DataDir>),
}

impl Asked {
    /// Finds out, and takes the folder if nobody has it.
    pub(super) fn of(places: &Places) -> Result<Self, Refusal> {
        places.require_tables()?;
        match places.lock() {
            Ok(folder) => Ok(Self::Here(folder)),
            Err(Taken::InUse {
                address: Some(address),
                ..
            }) => Ok(Self::Server(address)),
            Err(taken) => Err(taken.to_string()),
        }
    }
}

/// Looks without serving: nothing is mended that was not asked for.
pub(super) async fn here<R, E: ToString>(
    cli: &Cli,
    places: &Places,
    look: impl AsyncFnOnce(&Service) -> Result<R, E>,
) -> Result<R, Refusal> {
    let parts = places.open(cli, Purpose::Inspect).await?;
    let service = Service::inspect(parts, cli.service_settings());
    let answer = look(&service).await;
    let stopped = service.stop().await;
    let answer = answer.map_err(|error| error.to_string())?;
    stopped.map_err(|error| error.to_string())?;
    Ok(answer)
}
