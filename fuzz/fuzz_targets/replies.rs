//! The answers of an embedder on the network.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| guestbook::embed::fuzzing::replies(data));
