//! Guestbook keeps the chats of a product's guests: what was acknowledged is in every place where it belongs, and anything
//! that is not says so, loudly, and why. ARCHITECTURE.md has the map.

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // src/console.rs alone writes to either

pub mod api_key;
pub mod chat;
pub mod cli;
pub mod config;
pub mod console;
#[cfg(test)]
mod corpus;
pub mod embed;
pub mod error;
pub mod failpoint;
pub mod http;
pub mod service;
pub mod storage;
