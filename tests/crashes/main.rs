//! The process ends at any moment, in the middle of anything, on every pair of stores: what was answered as saved is there.
#![cfg(all(feature = "postgres", feature = "redis"))]
#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

#[path = "../site/client.rs"]
#[allow(dead_code)] // this suite uses a part of it
mod client;
#[path = "../ledger/mod.rs"]
mod ledger;
#[path = "../cli/process.rs"]
#[allow(dead_code)] // as above
mod process;
#[path = "../servers/mod.rs"]
mod servers;

#[path = "../ledger/pair.rs"]
mod pair;

mod kill;
mod matrix;
