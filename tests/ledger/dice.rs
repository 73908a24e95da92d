//! Numbers that a seed decides.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// A source of numbers; the same seed gives the same ones.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// From `GUESTBOOK_TEST_SEED`, or another each time; the seed is printed.
    pub(crate) fn thrown() -> Self {
        let seed = given("GUESTBOOK_TEST_SEED")
            .unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("GUESTBOOK_TEST_SEED={seed}");
        Self(seed | 1)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    pub(crate) fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let span = u64::try_from((longest - shortest).as_micros()).unwrap();
        shortest + Duration::from_micros(self.roll(span.max(1)))
    }
}

/// A number that the environment gives.
pub(crate) fn given(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// How often to do something: more with `GUESTBOOK_TEST_LONG`, and as often as `GUESTBOOK_TEST_ROUNDS` says if it does.
pub(crate) fn rounds(short: u64, long: u64) -> u64 {
    let usual = match std::env::var_os("GUESTBOOK_TEST_LONG") {
        Some(_) => long,
        None => short,
    };
    given("GUESTBOOK_TEST_ROUNDS").unwrap_or(usual)
}
