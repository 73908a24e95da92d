//! Processes that are killed, disks that fail, tables that are damaged or brought back: one oracle for all.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod disks;
mod processes;
mod recovery;
