//! Clients that mean no good, against the real process: bytes that are no HTTP or two kinds of it, clients that never end, more
//! clients than it can carry.
//!
//! `GUESTBOOK_TEST_LONG=1` makes the overload last 15 minutes.

#![allow(clippy::unwrap_used)] // a test may fail

mod body_budget;
mod chunks;
mod crowd;
mod drain;
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
mod wire;
