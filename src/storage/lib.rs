//! The storage traits, and the memory backend.
//!
//! Guestbook has two kinds of store: the [`Stores`] of a database, which is the source of truth, and a [`ListCache`] with the
//! expiring session lists, which is derived and can always be rebuilt. Both are [`Storage`]. The traits are batch-shaped: each
//! method is a whole business step over many messages, which an embedded store does in one transaction and a networked one in
//! a constant number of round trips.
//!
//! Imports `core`. Begin with [`Stores`] and [`ListCache`]; [`plan`] works out what a batch does, for every database.
//!
//! **Invariant:** backends never name each other.

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

pub mod conversation_state;
pub mod database;
mod durability;
mod gated;
pub mod list_cache;
pub mod memory;
pub mod path;
pub mod plan;
pub mod private;
pub mod probe;
pub mod scan;
pub mod schema;
pub mod stored_ids;
pub mod worker;

pub use database::{Chats, Stores};
pub use durability::{Durability, DurabilityReport};
pub use list_cache::ListCache;

use async_trait::async_trait;
use guestbook_core::error::{Error, Result};
use std::fmt;
use std::ops::ControlFlow;

/// What every backend has, whatever it stores.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync {
    /// The backend's name as receipts and tables show it: `sqlite`, `sled`, `memory` …
    fn name(&self) -> &'static str;

    /// The data's location for a person: a path or a URL without credentials.
    fn location(&self) -> String;

    /// Whether the backend can read and write now; the error has the reason. Repeated calls are rate-limited: their cost does not
    /// grow with their number.
    async fn health(&self) -> Result<()>;

    /// A failure after which nothing more may be acknowledged until a restart, such as a failed fsync or a dead thread;
    /// `None` in good health.
    fn fatal(&self) -> Option<Error>;

    /// The backend's durability under its current settings.
    async fn durability(&self) -> Result<DurabilityReport>;

    /// Its size.
    async fn stats(&self) -> Result<Stats>;

    /// Returns once everything accepted so far survives a power cut.
    async fn flush(&self) -> Result<()>;

    /// Flushes and closes files and connections. Every later call fails with `Unavailable`.
    async fn close(&self) -> Result<()>;
}

/// The size of a backend.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Messages in the tables, or items in the lists; an estimate where counting would scan.
    pub entries: u64,
    /// Bytes on disk or in memory.
    pub bytes: u64,
}

/// Receives the result of a read-only statement row by row, so that no result is ever whole in memory.
pub trait RowSink: Send {
    /// Called once with the column names, before any row; returns whether rows are wanted.
    fn columns(&mut self, names: &[String]) -> ControlFlow<()>;

    /// A row, each value as text: NULL as `None`, blobs as hex; returns whether more are wanted.
    fn row(&mut self, cells: &[Option<String>]) -> ControlFlow<()>;
}

/// The result of a read-only statement, for small results.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct QueryRows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each value as text: NULL as `None`, blobs as hex.
    pub rows: Vec<Vec<Option<String>>>,
}

impl RowSink for QueryRows {
    fn columns(&mut self, names: &[String]) -> ControlFlow<()> {
        self.columns = names.to_vec();
        ControlFlow::Continue(())
    }

    fn row(&mut self, cells: &[Option<String>]) -> ControlFlow<()> {
        self.rows.push(cells.to_vec());
        ControlFlow::Continue(())
    }
}
