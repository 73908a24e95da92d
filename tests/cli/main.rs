//! The real binary: how it starts, what it says, what it refuses, how it ends, and what is there after every end.

#![allow(clippy::unwrap_used)] // a test may fail

#[path = "../site/client.rs"]
#[allow(dead_code)] // this suite uses a part of it
mod client;

mod asking;
mod caching;
mod copying;
mod ending;
mod hiding;
mod logging;
#[allow(dead_code)] // as above
mod process;
mod reading;
mod refusing;
mod searching;
mod settings;
mod sockets;
mod starting;
mod supervised;
mod variables;
mod verifying;
