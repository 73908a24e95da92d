//! `guestbook serve` on disks that lose power, fail and fill up. What was sent and answered is kept in the shared oracle,
//! which is compared with every store in the end.
//!
//! | module | what happens to the disk |
//! |---|---|
//! | `power_cut` | everything that was not synced is gone |
//! | `power_cut_servers` | the same under PostgreSQL; long form only |
//! | `write_faults` | the Nth write, fsync, rename … fails |
//! | `full` | it has no room, or no inodes |
//!
//! Needs root, loop devices and strace; a test that cannot run prints SKIP and why, and fails where `GUESTBOOK_REQUIRE_RIGS`
//! is set. `GUESTBOOK_TEST_LONG` asks for the long forms, `GUESTBOOK_TEST_SEED` repeats a run.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod mount;

mod full;
mod power_cut;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod power_cut_servers;
mod write_faults;
