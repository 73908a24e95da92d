//! The parts of a database, each behind its own trait.

use super::{Audit, Chats, Outbox, Prompts, Search, SettingsStore, VectorSource, Vectors};
use crate::Storage;
use std::sync::Arc;

/// An open database. Whoever needs one part holds that part, and whoever changes one replaces it: nothing is forwarded for the
/// sake of the others. Cheap to clone; all clones are one database.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Its name, its health, its end.
    pub backend: Arc<dyn Storage>,
    /// The chats themselves.
    pub chats: Arc<dyn Chats>,
    /// What the tables owe the lists.
    pub outbox: Arc<dyn Outbox>,
    /// The vectors that are still to be made.
    pub vectors: Arc<dyn Vectors>,
    /// All vectors, for an index.
    pub corpus: Arc<dyn VectorSource>,
    /// Finding within a conversation.
    pub search: Arc<dyn Search>,
    /// Answers to repeated prompts.
    pub prompts: Arc<dyn Prompts>,
    /// The recount.
    pub audit: Arc<dyn Audit>,
    /// The settings that are stored with the data.
    pub settings: Arc<dyn SettingsStore>,
}

impl Stores {
    /// Those of a backend that is all of them.
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
