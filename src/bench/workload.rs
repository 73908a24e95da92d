//! Who says what: a function of the seed and a number, so that every pair gets the same operations in the same order.

use super::plan::BenchPlan;
use guestbook_core::Role;

/// Guests that chat. Some chat much more than others: a tenth of them sends about a third of all messages.
pub(super) const GUESTS: u64 = 1000;
/// Words of a message: with these, a text has about 90 bytes.
const WORDS: u64 = 15;
const VOCABULARY: [&str; 36] = [
    "order", "refund", "hello", "price", "where", "is", "my", "parcel", "please", "cancel", "the",
    "account", "login", "reset", "password", "tomorrow", "shipping", "invoice", "card", "charged",
    "twice", "thanks", "help", "with", "plan", "upgrade", "how", "do", "I", "change", "address",
    "to", "Berlin", "today", "and", "why",
];

/// What a client does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Operation {
    /// A guest's message is stored.
    Write {
        guest: String,
        role: Role,
        text: String,
    },
    /// The first 50 messages of a guest's chat are read.
    Read { guest: String },
}

/// All operations there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workload {
    seed: u64,
    write_share: f64,
}

impl Workload {
    pub(super) fn of(plan: &BenchPlan) -> Self {
        Self {
            seed: plan.seed,
            write_share: plan.write_share(),
        }
    }

    /// As many reads as writes.
    #[cfg(test)]
    pub(super) fn of_seed(seed: u64) -> Self {
        Self {
            seed,
            write_share: 0.5,
        }
    }

    /// The operation of this number.
    pub(super) fn operation(&self, number: u64) -> Operation {
        let mut dice = SeededRng(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let guest = guest(&mut dice);
        if dice.share() >= self.write_share {
            return Operation::Read { guest };
        }
        let role = if dice.share() < 0.5 {
            Role::User
        } else {
            Role::Assistant
        };
        let mut text = String::with_capacity(100);
        for _ in 0..WORDS {
            text.push_str(VOCABULARY[dice.below(VOCABULARY.len() as u64) as usize]);
            text.push(' ');
        }
        text.push_str(&number.to_string());
        Operation::Write { guest, role, text }
    }
}

/// The guest of a number that is small more often than large.
fn guest(dice: &mut SeededRng) -> String {
    let share = dice.share();
    format!("bench-{:04}", (share * share * GUESTS as f64) as u64)
}

/// SplitMix64: short, and good enough to choose words.
struct SeededRng(u64);

impl SeededRng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKLOAD: Workload = Workload {
        seed: 7,
        write_share: 0.8,
    };

    #[test]
    fn the_same_seed_is_the_same_workload() {
        let other = Workload {
            seed: 8,
            ..WORKLOAD
        };
        let some = |workload: Workload| (0..50).map(move |number| workload.operation(number));
        assert!(some(WORKLOAD).eq(some(WORKLOAD)));
        assert!(!some(WORKLOAD).eq(some(other)));
    }

    #[test]
    fn mix_length_and_skew_are_as_stated() {
        let (mut writes, mut bytes, mut busiest) = (0.0, 0.0, 0.0);
        for number in 0..10_000 {
            if let Operation::Write { guest, text, .. } = WORKLOAD.operation(number) {
                writes += 1.0;
                bytes += text.len() as f64;
                busiest += f64::from(u8::from(guest.as_str() < "bench-0100"));
            }
        }
        assert!((writes / 10_000.0 - 0.8_f64).abs() < 0.02, "{writes}");
        assert!((bytes / writes - 90.0_f64).abs() < 8.0, "{bytes}");
        assert!((busiest / writes - 0.32_f64).abs() < 0.02, "{busiest}");
    }
}
