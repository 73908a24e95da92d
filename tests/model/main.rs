//! What every store does, beside the reference in memory: each database alone, and the whole service.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod databases;
mod stateful_proptest;
