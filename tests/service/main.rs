//! The service over stores that obey and over stores that fail: what it does, verifies, embeds, and survives.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod behaviour;
mod embedding_worker;
mod faults;
mod verify;
