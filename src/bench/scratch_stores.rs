//! Stores of the bench's own. It never touches data that is there: files go into a new folder, tables on a PostgreSQL into a
//! database that is made for it, and a Redis must hold nothing.

use super::BenchError;
use super::backends::{Backends, StoreSettings};
use super::plan::{BenchPlan, ListBackend, StorePair, TableBackend};
use super::process::folder_bytes;
use super::workload::GUESTS;
use guestbook_core::GuestId;
use guestbook_core::error::Error;
use guestbook_service::ServiceParts;
use guestbook_storage::{DurabilityReport, ListCache, Stores};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Where scratch stores are made.
#[derive(Debug)]
pub(super) struct ScratchSpace {
    backends: Arc<dyn Backends>,
    chosen: StoreSettings,
    /// A Redis that is not empty is no reason to stop.
    is_overwriting: bool,
    has_database: AtomicBool,
    has_lists: AtomicBool,
    numbered: AtomicU32,
}

/// Empty stores of one pair, and the settings of a server on them.
#[derive(Debug)]
pub(super) struct ScratchStores {
    backends: Arc<dyn Backends>,
    pub(super) settings: StoreSettings,
    pub(super) pair: StorePair,
    pub(super) folder: ScratchFolder,
    /// What tables and lists promise, as they are set.
    pub(super) promises: [DurabilityReport; 2],
    /// Tables on a server, to ask for their size.
    database: Option<Stores>,
}

/// A folder that goes when this is dropped.
#[derive(Debug)]
pub(super) struct ScratchFolder(PathBuf);

impl ScratchSpace {
    pub(super) fn new(
        backends: Arc<dyn Backends>,
        chosen: StoreSettings,
        plan: &BenchPlan,
    ) -> Self {
        Self {
            backends,
            chosen,
            is_overwriting: plan.is_overwriting,
            has_database: AtomicBool::new(false),
            has_lists: AtomicBool::new(false),
            numbered: AtomicU32::new(0),
        }
    }

    /// Makes empty stores. Those of an earlier pair are gone then.
    pub(super) async fn make(&self, pair: StorePair) -> Result<ScratchStores, BenchError> {
        let folder = self.folder()?;
        let mut settings = self.chosen.clone();
        settings.data_dir = folder.0.clone();
        settings.database_url = match pair.tables {
            TableBackend::Sqlite => None,
            TableBackend::Memory => Some("memory:".into()),
            TableBackend::Postgres => Some(self.database().await?),
        };
        settings.cache_url = match pair.lists {
            ListBackend::Sled => None,
            ListBackend::Memory => Some("memory:".into()),
            ListBackend::Redis => Some(self.cache_url().await?),
        };
        if pair.tables != TableBackend::Sqlite {
            settings.durability = None;
        }
        let parts = self.backends.open(&settings).await?;
        let asked = tokio::try_join!(
            parts.database.backend.durability(),
            parts.lists.durability()
        );
        let (tables, lists) = asked.map_err(said)?;
        // Lists in a folder are open in one process only, and that is to be the one that is measured.
        parts.lists.close().await.map_err(said)?;
        let database = match pair.tables {
            TableBackend::Postgres => Some(parts.database),
            _ => {
                parts.database.backend.close().await.map_err(said)?;
                None
            }
        };
        Ok(ScratchStores {
            backends: Arc::clone(&self.backends),
            settings,
            pair,
            folder,
            promises: [tables, lists],
            database,
        })
    }

    /// Takes away what was made on servers.
    pub(super) async fn clear(&self) -> Result<(), BenchError> {
        if self.has_lists.load(Ordering::Relaxed) {
            self.empty(&self.lists().await?).await?;
        }
        if self.has_database.swap(false, Ordering::Relaxed) {
            self.backends.drop_scratch(self.database_url()).await?;
        }
        Ok(())
    }

    fn folder(&self) -> Result<ScratchFolder, BenchError> {
        let number = self.numbered.fetch_add(1, Ordering::Relaxed);
        // The default is where a server of this folder has its data: there, nothing is to be made.
        let parent = match self.chosen.is_default_dir {
            true => std::env::temp_dir(),
            false => self.chosen.data_dir.clone(),
        };
        let folder = parent.join(format!("guestbook-bench-{}-{number}", std::process::id()));
        match std::fs::create_dir_all(&folder) {
            Ok(()) => Ok(ScratchFolder(folder)),
            Err(cause) => Err(format!(
                "--data-dir: {} cannot be made: {cause}; choose a folder on the disk to be measured",
                folder.display()
            )),
        }
    }

    fn database_url(&self) -> &str {
        self.chosen.database_url.as_deref().unwrap_or_default()
    }

    async fn database(&self) -> Result<String, BenchError> {
        let url = self.database_url();
        if self.has_database.load(Ordering::Relaxed) {
            self.backends.drop_scratch(url).await?;
            self.has_database.store(false, Ordering::Relaxed);
        }
        let made = self.backends.make_scratch(url).await?;
        self.has_database.store(true, Ordering::Relaxed);
        Ok(made)
    }

    async fn cache_url(&self) -> Result<String, BenchError> {
        let lists = self.lists().await?;
        if !self.has_lists.load(Ordering::Relaxed) {
            let held = lists.stats().await.map_err(said)?.entries;
            if held > 0 && !self.is_overwriting {
                return Err(
                    "--cache-url: this Redis is not empty, and the bench writes lists and removes them; give an empty one \
                     (another /DB number is enough), or --overwrite-cache"
                        .into(),
                );
            }
            self.has_lists.store(true, Ordering::Relaxed);
        }
        self.empty(&lists).await?;
        Ok(self.chosen.cache_url.clone().unwrap_or_default())
    }

    async fn lists(&self) -> Result<Arc<dyn ListCache>, BenchError> {
        let url = self.chosen.cache_url.as_deref().unwrap_or_default();
        self.backends.lists(url).await
    }

    /// Removes the lists of the guests of the workload, and no others.
    async fn empty(&self, lists: &Arc<dyn ListCache>) -> Result<(), BenchError> {
        let guests = (0..GUESTS).filter_map(|at| GuestId::parse(&format!("bench-{at:04}")).ok());
        lists.remove(guests.collect()).await.map_err(said)
    }
}

impl ScratchStores {
    /// What the stores take on disk. Tables on a server count, its lists do not.
    pub(super) async fn bytes(&self) -> Option<u64> {
        let folder = folder_bytes(&self.folder.0);
        match (&self.database, self.pair.tables, self.pair.lists) {
            (Some(database), ..) => Some(folder + database.backend.stats().await.ok()?.bytes),
            (None, TableBackend::Memory, ListBackend::Memory | ListBackend::Redis) => None,
            _ => Some(folder),
        }
    }

    /// Opens the stores in this process.
    pub(super) async fn open(&self) -> Result<ServiceParts, BenchError> {
        self.backends.open(&self.settings).await
    }

    /// Lets go of the stores.
    pub(super) async fn close(&self) -> Result<(), BenchError> {
        match &self.database {
            Some(database) => database.backend.close().await.map_err(said),
            None => Ok(()),
        }
    }
}

pub(super) async fn close(parts: &ServiceParts) -> Result<(), BenchError> {
    let (lists, database) = tokio::join!(parts.lists.close(), parts.database.backend.close());
    lists.and(database).map_err(said)
}

fn said(cause: Error) -> BenchError {
    cause.to_string()
}

impl ScratchFolder {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // It was made by us, under a name of our own; what cannot be removed is left to whoever cleans the place.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
