//! Guestbook keeps the chats of a product's guests: what was acknowledged is in every place where it belongs, and anything
//! that is not says so, loudly, and why. ARCHITECTURE.md has the map.
//!
//! The binary: settings, commands, and the one place that knows every backend. Begin with [`cli::run`].

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

pub mod cli;
pub mod config;
pub mod console;
pub mod embedder;
pub mod open;

pub use guestbook_core as core;
pub use guestbook_embed as embed;
pub use guestbook_failpoint as failpoint;
pub use guestbook_http as http;
pub use guestbook_minilm as minilm;
#[cfg(feature = "postgres")]
pub use guestbook_postgres as postgres;
#[cfg(feature = "redis")]
pub use guestbook_redis as redis;
pub use guestbook_service as service;
pub use guestbook_sled as sled;
pub use guestbook_sqlite as sqlite;
pub use guestbook_storage as storage;
