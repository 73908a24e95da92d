//! Status for a service manager: systemd, or whoever listens at `NOTIFY_SOCKET`. Without one nothing is sent.

use guestbook_service::Service;
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Sends the service's status to the manager until it is dropped.
#[derive(Debug)]
pub(super) struct ManagerStatus {
    watchdog: Option<JoinHandle<()>>,
}

impl ManagerStatus {
    /// It is being opened, which may take a while.
    pub(super) fn opening() {
        tell(&[NotifyState::Status("opening the stores")]);
    }

    /// It serves. From now on its watchdog is fed, as long as there is something to be fed for.
    pub(super) fn serving(service: &Service, places: &str) -> Self {
        let status = format!("serving on {places}");
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        let watchdog = sd_notify::watchdog_enabled()
            .filter(|limit| !limit.is_zero())
            .map(|limit| tokio::spawn(feed(service.clone(), limit)));
        Self { watchdog }
    }

    /// It ends, and no longer says that it is well.
    pub(super) fn stopping(self) {
        tell(&[
            NotifyState::Stopping,
            NotifyState::Status("finishing requests in flight"),
        ]);
    }
}

impl Drop for ManagerStatus {
    fn drop(&mut self) {
        if let Some(watchdog) = &self.watchdog {
            watchdog.abort();
        }
    }
}

/// Says twice within the limit that the service is well. A database server that is down is no reason to start again, nor is a full
/// disk: both are answers. A failure after which nothing is acknowledged is one, and so is a database that hangs.
async fn feed(service: Service, limit: Duration) {
    let pause = limit / 2;
    loop {
        let asked = tokio::time::timeout(pause, service.parts().database.backend.health()).await;
        if asked.is_ok() && service.failure().is_none() {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("the service is not well, and its watchdog is not told otherwise");
        }
        tokio::time::sleep(pause / 2).await;
    }
}

/// Whoever does not listen misses something, and nothing more.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(cause) = sd_notify::notify(states) {
        tracing::warn!(%cause, "the service manager could not be told");
    }
}
