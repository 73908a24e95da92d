//! The process ends at any moment, in the middle of anything, on every pair of stores: what was answered as saved is there.
#![cfg(all(feature = "postgres", feature = "redis"))]
#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod kill;
mod matrix;
