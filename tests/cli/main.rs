//! The binary: its commands, and the bench.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod benchmarks;
mod commands;
