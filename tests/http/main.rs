//! The contract over HTTP, and what was once wrong with it.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod api;
mod regressions;
