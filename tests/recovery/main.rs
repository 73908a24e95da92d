//! What is left when the tables are damaged, lost or brought back: the real binary, real files, and the one ledger of what was
//! answered.
//!
//! `GUESTBOOK_TEST_SEED` repeats a run, `GUESTBOOK_TEST_LONG` makes it long.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

#[path = "../site/client.rs"]
#[allow(dead_code)] // this suite uses a part of it
mod client;
#[path = "../ledger/mod.rs"]
mod ledger;
#[path = "../ledger/pair.rs"]
#[allow(dead_code)] // as above
mod pair;
#[path = "../cli/process.rs"]
#[allow(dead_code)] // as above
mod process;
#[path = "../servers/mod.rs"]
mod servers;

mod ground;

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
