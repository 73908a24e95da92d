//! Clients that mean no good, against the real process: bytes that are no HTTP or two kinds of it, clients that never end, more
//! clients than it can carry.
//!
//! `GUESTBOOK_TEST_LONG=1` makes the overload last 15 minutes.

#![allow(clippy::unwrap_used)] // a test may fail

#[path = "../site/client.rs"]
#[allow(dead_code)] // each test uses a part of it
mod client;
#[path = "../cli/process.rs"]
#[allow(dead_code)] // as above
mod process;
#[path = "../site/taken.rs"]
mod taken;

mod bodies;
mod chunks;
mod crowd;
mod framing;
mod heads;
mod idle;
mod leaving;
mod overload;
mod paths;
mod peak;
mod row;
mod slow;
mod table;
mod unread;
mod wire;
