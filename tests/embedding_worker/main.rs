//! Vectors from a model behind HTTP: after the answer, with patience, never lost and never silently missing.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

#[path = "../stage/mod.rs"]
mod stage;

#[path = "../embed_openai/server.rs"]
#[allow(dead_code)] // shared with the tests of the client
mod server;

mod bad;
mod ground;
mod patience;
mod reembed;
mod restart;
