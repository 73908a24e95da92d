//! `guestbook serve` in adversity: list stores that were destroyed, servers and disks that hang or are slow, clocks that jump,
//! and stops in the middle of everything. Real processes on real stores; what was answered is in the shared oracle.
//!
//! Each fault test prints its figures in lines that begin with `figure: `, and a seed that `GUESTBOOK_TEST_SEED` repeats.
//! `GUESTBOOK_TEST_LONG` makes the rounds as many as the long form has. What needs a program that is not installed prints SKIP,
//! and fails when `GUESTBOOK_REQUIRE_RIGS` is set.
#![cfg(all(feature = "postgres", feature = "redis"))]
#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod footprint;
mod words;

mod clock;
mod clock_expiry;
mod damage;
mod destroyed_lists;
mod destroyed_live;
mod hung;
mod slow_disk;
mod stop;
mod stop_batch;
mod stop_hung;
