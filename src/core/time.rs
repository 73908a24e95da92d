//! Time as the contract keeps it: UTC, to the millisecond, between the years 0 and 9999.

use super::InvalidField;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const MS_PER_HOUR: i64 = 3_600_000;
/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999Z: what RFC 3339 can write.
const RANGE_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// Milliseconds to the microsecond, for people: `2.224`, where the difference of two clocks is 2.2238599999999997.
pub fn rounded_ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

/// A moment in UTC, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970; values outside the years 0-9999 are moved to the nearest end.
    pub fn from_ms(ms: i64) -> Self {
        Self(ms.clamp(*RANGE_MS.start(), *RANGE_MS.end()))
    }

    /// Milliseconds since 1970.
    pub fn ms(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339; a text without an offset is taken as UTC; finer than a millisecond is cut.
    pub fn parse(text: &str) -> Result<Self, InvalidField> {
        if let Some(stored) = Self::read_stored(text.as_bytes()) {
            return Ok(stored);
        }
        let with_offset = DateTime::parse_from_rfc3339(text).map(|t| t.with_timezone(&Utc));
        let parsed = with_offset.or_else(|_| naive(text).map(|t| t.and_utc()));
        let ms = parsed.map(|t| t.timestamp_millis()).ok();
        ms.filter(|ms| RANGE_MS.contains(ms))
            .map(Self)
            .ok_or_else(|| {
                let rule = "must be an RFC 3339 time, such as 2025-12-21T12:00:00Z";
                InvalidField::new("timestamp", rule)
            })
    }

    /// Reads the form of [`Self::stored`], in a small part of the time that any other takes: a page of a chat has a hundred of them.
    fn read_stored(text: &[u8]) -> Option<Self> {
        let number = |at: std::ops::Range<usize>| {
            text[at].iter().try_fold(0, |sum: u32, byte| {
                let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
                Some(sum * 10 + digit)
            })
        };
        let marks = [
            (4, b'-'),
            (7, b'-'),
            (10, b'T'),
            (13, b':'),
            (16, b':'),
            (19, b'.'),
            (23, b'Z'),
        ];
        if text.len() != 24 || marks.iter().any(|&(at, mark)| text[at] != mark) {
            return None;
        }
        let year = i32::try_from(number(0..4)?).ok()?;
        let date = NaiveDate::from_ymd_opt(year, number(5..7)?, number(8..10)?)?;
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        let time = date.and_hms_milli_opt(hour, minute, second, number(20..23)?)?;
        Some(Self(time.and_utc().timestamp_millis()))
    }

    /// The moment plus a span.
    pub fn plus(self, span: Duration) -> Self {
        let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self::from_ms(self.0.saturating_add(ms))
    }

    /// How long from `self` to `later`; zero when `later` is not later.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0 - self.0).unwrap_or(0))
    }

    /// The start of the UTC clock hour this moment lies in.
    pub fn hour(self) -> Self {
        Self(self.0.div_euclid(MS_PER_HOUR) * MS_PER_HOUR)
    }

    /// Whether both moments lie in the same UTC calendar month.
    pub fn same_month(self, other: Self) -> bool {
        let (a, b) = (self.date_time(), other.date_time());
        (a.year(), a.month()) == (b.year(), b.month())
    }

    /// The sortable form that the tables hold: always 24 characters, `2025-12-21T12:00:00.000Z`.
    pub fn stored(self) -> String {
        let t = self.date_time();
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: usize, digits: usize, mut value: u32| {
            for slot in text[at..at + digits].iter_mut().rev() {
                *slot = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(0, 4, t.year().unsigned_abs());
        put(5, 2, t.month());
        put(8, 2, t.day());
        put(11, 2, t.hour());
        put(14, 2, t.minute());
        put(17, 2, t.second());
        put(20, 3, t.timestamp_subsec_millis());
        String::from_utf8_lossy(&text).into_owned()
    }

    fn date_time(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

fn naive(text: &str) -> chrono::ParseResult<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"))
}

/// The form clients see: `2025-12-21T12:00:00Z`, with milliseconds only when there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.stored();
        match text.strip_suffix(".000Z") {
            Some(seconds) => write!(f, "{seconds}Z"),
            None => f.write_str(&text),
        }
    }
}

/// How long a list lives after its last message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ttl(pub Duration);

impl Ttl {
    /// Where nothing else is set.
    pub const DEFAULT: Self = Self(Duration::from_secs(86_400));
}

/// Where "now" comes from. One clock is passed to everything that needs it, so that a test can move time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp::from_ms(since.map_or(0, |span| {
            i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
        }))
    }
}

/// A clock that stands still until it is moved: what the tests use instead of waiting.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock showing `at`.
    pub fn new(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.ms()))
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().plus(span));
    }

    /// Sets the clock, also backwards.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.ms(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_to_the_microsecond() {
        let shown = |nanoseconds| rounded_ms(Duration::from_nanos(nanoseconds)).to_string();
        assert_eq!(shown(2_223_859), "2.224");
        assert_eq!(shown(0), "0");
        assert_eq!(shown(86_400_000_000_001), "86400000");
        for micros in (0..100_000).step_by(7) {
            let text = shown(micros * 1000);
            let places = text.split_once('.').map_or(0, |(_, places)| places.len());
            assert!(places <= 3, "{text}");
        }
    }

    #[test]
    fn offsets_become_utc_and_a_missing_one_is_utc() {
        let cases = [
            ("2025-12-21T12:00:00Z", "2025-12-21T12:00:00Z"),
            ("2025-12-21T12:00:00+02:00", "2025-12-21T10:00:00Z"),
            ("2025-12-21T12:00:00.1239", "2025-12-21T12:00:00.123Z"),
            ("2025-12-21 12:00:00", "2025-12-21T12:00:00Z"),
        ];
        for (given, expected) in cases {
            assert_eq!(Timestamp::parse(given).unwrap().to_string(), expected);
        }
        for bad in [
            "",
            "yesterday",
            "2025-13-01T00:00:00Z",
            "2025-12-21",
            "+12025-01-01T00:00:00Z",
        ] {
            assert!(Timestamp::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_stored_form_sorts_and_reads_back() {
        for text in [
            "0001-02-03T04:05:06.007Z",
            "1969-12-31T23:59:59.999Z",
            "2025-12-21T12:00:00.000Z",
        ] {
            let t = Timestamp::parse(text).unwrap();
            assert_eq!(t.stored(), text);
            assert_eq!(Timestamp::parse(&t.stored()).unwrap(), t);
        }
    }

    /// Both forms are written and read by hand, so they are held to those of the library.
    #[test]
    fn every_moment_is_written_and_read_as_the_library_does() {
        let step = 86_399_999 * 7 + 61_013; // no multiple of a day, an hour, a minute or a second
        let (first, last) = (*RANGE_MS.start(), *RANGE_MS.end());
        let moments = (first..=last).step_by(step).chain([first, last, -1, 0, 1]);
        for ms in moments.chain((0..2000).map(|second| second * 1000)) {
            let (t, by_library) = (Timestamp(ms), Timestamp(ms).date_time());
            let shown = by_library.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
            assert_eq!(t.to_string(), shown);
            let stored = by_library.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            assert_eq!(t.stored(), stored);
            assert_eq!(Timestamp::parse(&stored).unwrap(), t);
            assert_eq!(Timestamp::read_stored(stored.as_bytes()), Some(t));
        }
        for other in [
            "2025-02-29T12:00:00.000Z",
            "2025-12-21T24:00:00.000Z",
            "2025-12-21T12:00:60.000Z",
            "2025-12-21t12:00:00.000Z",
            "2025-12-21T12:00:00.000z",
            "2025-12-21T12:00:00.0001",
            "2025-12-21T12:00:0:.000Z",
            "2025-12-21T12:00:00Z",
        ] {
            assert_eq!(Timestamp::read_stored(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn hours_and_months_are_those_of_the_utc_calendar() {
        let t = Timestamp::parse("2025-12-31T23:59:59.999Z").unwrap();
        assert_eq!(t.hour().to_string(), "2025-12-31T23:00:00Z");
        assert!(!t.same_month(t.plus(Duration::from_millis(1))));
        assert!(t.same_month(Timestamp::parse("2025-12-01T00:00:00Z").unwrap()));
    }
}
