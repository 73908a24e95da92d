//! Both stores in memory: the reference model of the other backends, and `memory:` for tests and demonstrations.
//!
//! It is written for readability: plain maps under one lock, every rule of the traits in its shortest form. Nothing survives
//! the process. A call checks everything before it changes the maps, so an error changes nothing, as after a rollback.

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

/// The error of every call on a closed store.
fn closed(operation: &'static str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        NAME,
        operation,
        "the store is closed",
    )
}
