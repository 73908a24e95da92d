//! The real binary: how it starts, what it says, what it refuses, how it ends, and what is there after every end.

#![allow(clippy::unwrap_used)] // a test may fail

mod asking;
mod backup_progress;
mod caching;
mod ending;
mod hiding;
mod logging;
mod reading;
mod refusing;
mod searching;
mod settings;
mod sockets;
mod starting;
mod supervised;
mod variables;
mod verifying;
