//! Every embedder, and the guard of the prompt cache, on the texts of tests/data.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod minilm;
mod openai;
mod prompt_guard;
mod static_table;
