//! What the suites that talk HTTP share.

#![allow(dead_code)] // each suite uses its part

pub(crate) mod client;
pub(crate) mod server;
