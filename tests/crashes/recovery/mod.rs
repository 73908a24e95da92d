//! What is left when the tables are damaged, lost or brought back: the real binary, real files, and the one oracle of what was
//! answered.
//!
//! `GUESTBOOK_TEST_SEED` repeats a run, `GUESTBOOK_TEST_LONG` makes it long.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod harness;

mod backup;
mod changed_rows;
mod cut_short;
mod damage;
mod damaged_database;
mod indexing;
mod older_tables;
mod private_files;
mod refusals;
mod unclean_stop;
mod which_file;
mod words;
