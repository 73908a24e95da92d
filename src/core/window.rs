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
    ///
    /// A list never goes before it was said to, though clocks may be set back and nodes differ: what was promised until a
    /// later moment stays promised. A clock that was far ahead binds nobody for ever: at most one TTL is kept beyond what
    /// the message itself gives.
    pub fn advance(before: Option<Self>, sequence: u64, created_at: Timestamp, ttl: Ttl) -> Self {
        let expires_at = created_at.plus(ttl.0);
        match before.filter(|window| created_at < window.expires_at) {
            None => Self {
                from: sequence,
                expires_at,
            },
            Some(alive) => Self {
                from: alive.from,
                expires_at: alive.expires_at.clamp(expires_at, expires_at.plus(ttl.0)),
            },
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

    #[test]
    fn a_clock_that_is_set_back_takes_no_promise_back_and_one_that_was_far_ahead_binds_for_one_ttl_more()
     {
        let ttl = Ttl(Duration::from_millis(10));
        let said = |ms: &[i64]| {
            let times = ms.iter().map(|&ms| Timestamp::from_ms(ms));
            let window = window_of((0..).zip(times), ttl).unwrap();
            (window.from, window.expires_at.ms())
        };
        assert_eq!(said(&[100, 95]), (0, 110), "set back by less than a TTL");
        assert_eq!(said(&[100, 95, 101]), (0, 111), "and right again");
        assert_eq!(said(&[100, 108, 99]), (0, 118), "ahead for one message");
        assert_eq!(
            said(&[100, 5_000, 101]),
            (1, 121),
            "far ahead for one message"
        );
        assert_eq!(said(&[100, 5_000, 101, 121]), (3, 131), "and silent since");
    }
}
