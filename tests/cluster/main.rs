//! `guestbook serve` as it runs where it matters: several processes, on PostgreSQL and Redis servers that are killed, frozen,
//! emptied, slow, full or behind a pool. What was sent and answered is kept in an oracle, which is compared with every store
//! in the end.
#![cfg(all(feature = "postgres", feature = "redis"))]
#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod harness;
mod latency;

mod chaos;
mod commits;
mod damage;
mod durability;
mod ids;
mod parity;
mod pooled;
mod postgres_outages;
mod redis_outages;
mod roles;
mod searching;
mod settings;
mod sockets;
mod tls;
mod two_nodes;
mod words;
