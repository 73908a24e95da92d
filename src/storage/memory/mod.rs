//! Both stores in memory: the reference the other backends are compared with, and `memory:` for tests and demonstrations.
//!
//! It is written to be read: plain maps under one lock, every rule of the traits in the shortest form that obeys it.
//! Nothing survives the process. A call checks everything first and only then changes the maps, so an error means that
//! nothing was changed, as after a rollback.

mod audit;
mod chats;
mod corpus;
mod database;
mod judge;
mod lists;
mod metrics;
mod outbox;
mod prompts;
mod record;
mod search;
mod settings;
mod tables;
mod usage;
mod vectors;

pub use database::MemoryDatabase;
pub use lists::MemoryLists;

use guestbook_core::error::{Error, ErrorKind};

/// The name in receipts, tables and errors.
const NAME: &str = "memory";

/// Where the data is, for a person.
const LOCATION: &str = "memory:";

/// What every call on a closed store answers.
fn closed(operation: &'static str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        NAME,
        operation,
        "the store is closed",
    )
}
