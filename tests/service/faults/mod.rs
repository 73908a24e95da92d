//! What holds when a store fails: at any call, before or after its effect, for a while, or by never answering.
//!
//! The sweeps work in the manner of redb: a workload is run once to count its calls, then once for each call with a
//! failure there.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod expected_state;
mod hanging;
mod lists_down;
mod sweeps;
mod unknown;
mod workload;
