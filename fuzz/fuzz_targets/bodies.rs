//! JSON bodies: a message, a migration.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| guestbook::http::fuzzing::bodies(data));
