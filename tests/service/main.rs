//! The laws of the service: batching, places in the queue, sessions, retention, and what holds after a crash.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

#[path = "../stage/mod.rs"]
mod stage;

mod batching;
mod crash;
mod list_life;
mod prompts;
mod queue;
mod replaced;
mod retention;
mod session;
mod settling;
mod standing;
