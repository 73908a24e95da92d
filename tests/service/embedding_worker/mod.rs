//! Vectors from a model behind HTTP: after the answer, with patience, never lost and never silently missing.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod bad;
mod harness;
mod patience;
mod reembed;
mod restart;
