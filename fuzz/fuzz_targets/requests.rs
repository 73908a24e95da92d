//! Whole requests through the router: batches in all their forms, paths, queries, keys.
#![no_main]

#[path = "../laws/requests.rs"]
mod laws;

use std::cell::RefCell;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().enable_time().build().expect("a runtime"));
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    RUNTIME.with_borrow(|runtime| runtime.block_on(laws::requests(data)));
});
