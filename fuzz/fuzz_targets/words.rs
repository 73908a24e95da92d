//! Ids, times, keys and texts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| guestbook::core::fuzzing::words(data));
