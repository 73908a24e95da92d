//! The parts of a database, each behind its own trait.

use super::{Audit, Chats, Outbox, Prompts, Search, SettingsStore, VectorSource, Vectors};
use crate::Storage;
use std::sync::Arc;

/// An open database, as one trait object per concern: a caller holds only the parts it uses, a wrapper replaces only the parts
/// it changes. All clones are one database.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Its name, health and shutdown.
    pub backend: Arc<dyn Storage>,
    /// The chats themselves.
    pub chats: Arc<dyn Chats>,
    /// The pending list writes.
    pub outbox: Arc<dyn Outbox>,
    /// The pending embeddings.
    pub vectors: Arc<dyn Vectors>,
    /// All vectors, for an index.
    pub corpus: Arc<dyn VectorSource>,
    /// The queries.
    pub search: Arc<dyn Search>,
    /// The prompt cache.
    pub prompts: Arc<dyn Prompts>,
    /// The reads and repairs of verify.
    pub audit: Arc<dyn Audit>,
    /// The settings that are stored with the data.
    pub settings: Arc<dyn SettingsStore>,
}

impl Stores {
    /// The stores of a backend that implements every trait.
    pub fn of<B>(backend: Arc<B>) -> Self
    where
        B: Storage
            + Chats
            + Outbox
            + Vectors
            + VectorSource
            + Search
            + Prompts
            + Audit
            + SettingsStore,
        B: 'static,
    {
        Self {
            chats: backend.clone(),
            outbox: backend.clone(),
            vectors: backend.clone(),
            corpus: backend.clone(),
            search: backend.clone(),
            prompts: backend.clone(),
            audit: backend.clone(),
            settings: backend.clone(),
            backend,
        }
    }
}
