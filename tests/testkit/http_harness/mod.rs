//! What the suites that talk HTTP share.

pub use crate::client;
pub mod server;
