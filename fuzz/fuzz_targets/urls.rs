//! `--database-url` and `--cache-url`, of every backend.
#![no_main]

#[path = "../laws/urls.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        laws::urls(text);
        guestbook::redis::fuzzing::url(text);
    }
});
