//! Records and keys of a sled store.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| guestbook::sled::fuzzing::sled(data));
