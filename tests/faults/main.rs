//! What holds when a store fails: at any call, before or after its effect, for a while, or by never answering.
//!
//! The sweeps work in the manner of redb: a workload is run once to count its calls, then once for each call with a
//! failure there.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

#[path = "../stage/mod.rs"]
mod stage;

#[cfg(any(feature = "postgres", feature = "redis"))]
#[path = "../contract/fixture.rs"]
#[allow(dead_code)] // the embedded pairs are opened by the stage
mod fixture;
#[cfg(any(feature = "postgres", feature = "redis"))]
#[path = "../servers/mod.rs"]
mod servers;

mod hanging;
mod ledger;
mod lists_down;
mod sweeps;
mod unknown;
mod workload;
