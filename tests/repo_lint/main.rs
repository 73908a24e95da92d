//! The rules of the repository, the corpus of the fuzzers, and whether the support of the tests works.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod fuzz_replay;
mod rules;
mod support_selftest;
