//! What a setting may be at most and at least: the one place where texts become durations and counts.
//!
//! A number that no machine can carry is no setting: sums with it overflow, and what is made of it panics when the first request
//! comes. So each has a bound far above what anybody needs, and far below what breaks.

use std::time::Duration;

/// A hundred years: every sum with a time of day, of the system's clocks, of PostgreSQL and of Redis, is a time again.
const LONGEST: Duration = Duration::from_secs(36_525 * 86_400);
/// The unit of every store and of most timers. A loop with a shorter pause would do nothing else.
const SHORTEST: Duration = Duration::from_millis(1);

/// 1 TiB, more than any machine has for it.
pub(super) const BYTES: usize = 1 << 40;
/// Messages that wait: a million of them are some GB.
pub(super) const QUEUE: usize = 1_000_000;
/// Connections to a server, or of a bench: each is a file, and a server of PostgreSQL carries some thousand.
pub(super) const CONNECTIONS: usize = 10_000;
/// Numbers of a vector; models have some thousand at most.
pub(super) const DIMENSIONS: usize = 65_536;
/// Tries; with a minute between two of them, two years.
pub(super) const ATTEMPTS: usize = 1_000_000;
/// Messages and reads of one run of the bench.
pub(super) const MESSAGES: usize = 1_000_000_000;
/// Rounds of the bench.
pub(super) const ROUNDS: usize = 1_000;

/// A time of at least a millisecond.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(span) if span < SHORTEST => Err("must be at least 1ms".into()),
        Ok(span) if span > LONGEST => Err("must be at most 36525days, a hundred years".into()),
        Ok(span) => Ok(span),
        Err(cause) => Err(format!("{cause}; write it like 24h, 30s or 200ms")),
    }
}

/// A whole number from 1 to `most`.
pub(super) fn count<N>(most: usize) -> impl Fn(&str) -> Result<N, String> + Clone
where
    N: TryFrom<usize> + Clone + Send + Sync + 'static,
{
    move |text| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let beyond = || format!("must be at most {most}");
        match text.parse::<usize>() {
            Ok(0) => Err("must be at least 1".into()),
            Ok(count) if count <= most => N::try_from(count).map_err(|_| beyond()),
            Ok(_) => Err(beyond()),
            Err(_) if is_number => Err(beyond()),
            Err(_) => Err("must be a whole number".into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;

    #[test]
    fn a_time_is_between_a_millisecond_and_a_hundred_years() {
        for text in ["1ms", "24h", "36525days"] {
            duration(text).unwrap();
        }
        for (text, reason) in [
            ("0s", "at least 1ms"),
            ("999us", "at least 1ms"),
            ("36526days", "at most"),
            ("18446744073709551615s", "at most"),
            ("99999999999999999999s", "write it like"),
            ("yesterday", "write it like"),
            ("-1s", "write it like"),
        ] {
            let said = duration(text).unwrap_err();
            assert!(said.contains(reason), "{text}: {said}");
        }
    }

    #[test]
    fn a_count_is_between_1_and_its_bound() {
        let small = count::<u32>(10);
        assert_eq!((small("1"), small("10")), (Ok(1), Ok(10)));
        for (text, reason) in [
            ("0", "at least 1"),
            ("11", "at most 10"),
            ("18446744073709551616", "at most 10"),
            ("-1", "whole number"),
            ("1.5", "whole number"),
            ("", "whole number"),
        ] {
            let said = small(text).unwrap_err();
            assert!(said.contains(reason), "{text}: {said}");
        }
    }
}
