//! What the bench is lent: it knows no backend, and measures whatever the binary opens.

use super::BenchError;
use async_trait::async_trait;
use guestbook_core::Ttl;
use guestbook_service::ServiceParts;
use guestbook_storage::{Durability, ListCache};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where stores are, and how they are set: as the flags of the program say, and then for each pair.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The folder of files.
    pub data_dir: PathBuf,
    /// Whether nobody has chosen that folder.
    pub is_default_dir: bool,
    /// The database, where it is not the file in the folder.
    pub database_url: Option<String>,
    /// The list cache, where it is not the store in the folder.
    pub cache_url: Option<String>,
    /// What of the embedded database survives a power cut, where it was chosen.
    pub durability: Option<Durability>,
    /// Where vectors come from, as after `--embedder`.
    pub embedder: String,
    /// How long a session list lives after its last message.
    pub list_ttl: Ttl,
}

/// Opens stores by their URLs. Errors are for a person.
#[async_trait]
pub trait Backends: fmt::Debug + Send + Sync {
    /// The name of the database at a URL: `sqlite`, `postgresql`, `memory`.
    fn database_of(&self, url: &str) -> Result<&'static str, BenchError>;

    /// The name of the list cache at a URL: `sled`, `redis`, `memory`.
    fn cache_of(&self, url: &str) -> Result<&'static str, BenchError>;

    /// Makes an empty database on the server at a URL; its URL.
    async fn make_scratch(&self, url: &str) -> Result<String, BenchError>;

    /// Drops what [`Self::make_scratch`] has made on the server at a URL.
    async fn drop_scratch(&self, url: &str) -> Result<(), BenchError>;

    /// The list cache at a URL.
    async fn lists(&self, url: &str) -> Result<Arc<dyn ListCache>, BenchError>;

    /// Opens a pair as a server does.
    async fn open(&self, settings: &StoreSettings) -> Result<ServiceParts, BenchError>;
}
