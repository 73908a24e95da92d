//! The laws of the service: batching, places in the queue, sessions, retention, and what holds after a crash.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod batching;
mod crash;
mod freshness;
mod line_by_line;
mod list_life;
mod long_pages;
mod prompts;
mod queue;
mod replaced;
mod retention;
mod session;
mod settling;
mod supervised;
