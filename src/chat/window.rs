//! The list window: which messages a guest's expiring list holds, as a pure function of the rows and the clock.

use super::{Timestamp, Ttl};

/// The part of a conversation that its list holds: from `from` to the newest message, until `expires_at`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// The first sequence in the list.
    pub from: u64,
    /// When the list goes, unless another message comes before.
    pub expires_at: Timestamp,
}

impl Window {
    /// The window after one more message. A message that comes at or after the expiry begins the list anew, as Redis does.
    pub fn advance(before: Option<Self>, sequence: u64, created_at: Timestamp, ttl: Ttl) -> Self {
        let alive = before.filter(|window| created_at < window.expires_at);
        Self {
            from: alive.map_or(sequence, |window| window.from),
            expires_at: created_at.plus(ttl.0),
        }
    }

    /// Whether the list is still there at `now`.
    pub fn is_live(self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

/// The window of a whole conversation, from the times of its messages in sequence order.
pub fn window_of(created: impl IntoIterator<Item = (u64, Timestamp)>, ttl: Ttl) -> Option<Window> {
    created.into_iter().fold(None, |window, (sequence, at)| {
        Some(Window::advance(window, sequence, at, ttl))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_silence_as_long_as_the_ttl_begins_the_list_anew() {
        let ttl = Ttl(Duration::from_millis(10));
        let at = |ms: &[i64]| -> Option<Window> {
            window_of(
                ms.iter()
                    .enumerate()
                    .map(|(i, &ms)| (i as u64, Timestamp::from_ms(ms))),
                ttl,
            )
        };
        assert_eq!(at(&[]), None);
        assert_eq!(at(&[0, 9, 18]).unwrap().from, 0);
        assert_eq!(at(&[0, 9, 19, 20]).unwrap().from, 2);
        let window = at(&[0, 10]).unwrap();
        assert_eq!((window.from, window.expires_at.ms()), (1, 20));
        assert!(window.is_live(Timestamp::from_ms(19)) && !window.is_live(Timestamp::from_ms(20)));
    }
}
