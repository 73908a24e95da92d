//! Each store of session lists beyond the contract.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod redis;
mod sled;
