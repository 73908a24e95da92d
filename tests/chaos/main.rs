//! What a machine does to a server: clocks, hung and slow stores, stops; and every text there is.

#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

mod adverse;
mod unicode;
