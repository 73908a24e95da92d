//! Numbers that a seed decides.

use super::form::given;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// A source of numbers; the same seed gives the same ones.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From `GUESTBOOK_TEST_SEED`, or another each time; the seed is printed.
    pub fn thrown() -> Self {
        let seed = given("GUESTBOOK_TEST_SEED")
            .unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("GUESTBOOK_TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides.max(1)
    }

    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let span = u64::try_from((longest - shortest).as_micros()).unwrap();
        shortest + Duration::from_micros(self.roll(span))
    }

    /// Puts items in any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.roll(end as u64 + 1);
            items.swap(end, usize::try_from(other).unwrap());
        }
    }
}
