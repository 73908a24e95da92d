//! Every kind of damage is named, what is derived is repaired, and no message is ever invented, changed or removed.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod concurrent;
mod damage;
mod lists;
mod orphans;
mod tables;
