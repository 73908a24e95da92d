//! What the tests share, compiled once: servers of every kind, clients, the harnesses of the service and of HTTP, and the oracle
//! that compares what was answered with what is there.

#![allow(missing_docs, clippy::unwrap_used, clippy::new_without_default)] // a test says what is wrong by panicking; the names say what things are

pub mod client;
pub mod embedding_server;
pub mod evaluation;
pub mod fixture;
pub mod http_harness;
pub mod oracle;
pub mod pair;
pub mod process;
pub mod random;
pub mod resources;
pub mod servers;
pub mod service_harness;
