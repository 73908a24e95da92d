//! The guests in order.
//!
//! Redis keeps no order and `SCAN` visits all keys, so every page would cost a whole scan. Hence one scan is cached for the pages
//! that follow, and a first page starts a new scan.

use super::RedisLists;
use super::error::failed;
use super::reconnecting_client::Node;
use super::records::{EVERY_HEAD, guest_of_head};
use ::redis::cmd;
use guestbook_core::GuestId;
use guestbook_core::error::{ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a scan is cached: longer than any pause between two pages.
const KEPT: Duration = Duration::from_secs(60);
/// Keys per step: some milliseconds of the server's time.
const STEP: usize = 5000;

/// The last scan and its time.
#[derive(Debug, Default)]
pub(super) struct ScanPages(Mutex<Option<(Instant, Arc<[GuestId]>)>>);

impl ScanPages {
    fn kept(&self) -> Option<Arc<[GuestId]>> {
        let mut scan = self.lock();
        if scan.as_ref().is_some_and(|(at, _)| at.elapsed() > KEPT) {
            *scan = None;
        }
        scan.as_ref().map(|(_, guests)| Arc::clone(guests))
    }

    fn keep(&self, guests: &Arc<[GuestId]>) {
        *self.lock() = Some((Instant::now(), Arc::clone(guests)));
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Arc<[GuestId]>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RedisLists {
    /// At most `limit` guests after `after`.
    pub(super) async fn page(&self, after: Option<&GuestId>, limit: usize) -> Result<Vec<GuestId>> {
        self.link.check("guests")?;
        let guests = match after.and_then(|_| self.pages.kept()) {
            Some(guests) => guests,
            None => self.scan().await?,
        };
        let start = guests.partition_point(|guest| after.is_some_and(|after| guest <= after));
        Ok(guests[start..].iter().take(limit).cloned().collect())
    }

    async fn scan(&self) -> Result<Arc<[GuestId]>> {
        let mut guests = Vec::new();
        for node in self.masters().await? {
            let mut cursor = 0;
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(EVERY_HEAD);
                scan.arg("COUNT").arg(STEP);
                let step = self.ask::<(u64, Vec<String>)>("guests", scan, node.clone());
                let (next, keys) = step.await?;
                guests.extend(keys.iter().filter_map(|key| guest_of_head(key)));
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        guests.sort();
        guests.dedup(); // SCAN may return a key twice
        let guests = guests.into();
        self.pages.keep(&guests);
        Ok(guests)
    }

    /// The nodes to scan: every master of a cluster, or the one server.
    async fn masters(&self) -> Result<Vec<Node>> {
        if !self.link.is_cluster() {
            return Ok(vec![Node::AsUsual]);
        }
        let nodes = self.of_each_master::<String>("guests", cmd("PING")).await?;
        let node = |(address, _): (String, String)| {
            let place = address.rsplit_once(':');
            let place = place.and_then(|(host, port)| Some((host, port.parse().ok()?)));
            let unknown = || failed(ErrorKind::Internal, "guests", "a node has no address");
            place
                .map(|(host, port)| Node::At(host.into(), port))
                .ok_or_else(unknown)
        };
        nodes.into_iter().map(node).collect()
    }
}
