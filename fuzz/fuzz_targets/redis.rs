//! Items, heads and keys of a Redis.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| guestbook::redis::fuzzing::redis(data));
