//! JSON that is kept as it was sent: which of it others can read back.
//!
//! JSON's grammar allows what no reader can represent. One such value makes a whole chat unreadable: jq, PostgreSQL, Python and
//! JavaScript refuse the document it stands in, or read another value. So it is refused when it comes.

/// At most so many objects and arrays within each other, the outermost counted. What is nested deeper, many readers of JSON
/// refuse, and with it the whole chat: some allow 64 in all, of which an answer itself has three.
pub(super) const MAX_DEPTH: usize = 50;
/// Digits after the point that PostgreSQL's `numeric`, and so its `jsonb`, can hold; nor may an exponent be further from 0.
const MAX_SCALE: i64 = 16_383;
/// Bytes of a number that are shown to whoever sent it.
const SHOWN: usize = 40;

/// What of JSON text cannot be kept, as a rule for its sender; `None` when every reader can read it. The text has the grammar of
/// JSON already, as part of a document that was parsed.
pub(super) fn unreadable(json: &str) -> Option<String> {
    let depth = depth(json);
    if depth > MAX_DEPTH {
        return Some(format!(
            "is nested {depth} levels deep; at most {MAX_DEPTH} are kept"
        ));
    }
    let (bytes, mut at) = (json.as_bytes(), 0);
    while let Some(byte) = bytes.get(at) {
        at = match byte {
            b'"' => match string_end(bytes, at + 1) {
                Ok(end) => end,
                Err(rule) => return Some(rule),
            },
            b'-' | b'0'..=b'9' => {
                let length = json[at..].find(|c: char| !is_of_number(c));
                let end = length.map_or(json.len(), |length| at + length);
                if !is_held(&json[at..end]) {
                    return Some(out_of_range(&json[at..end]));
                }
                end
            }
            _ => at + 1,
        };
    }
    None
}

/// How many objects and arrays of JSON text are within each other.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut is_escaped) = (0, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = usize::saturating_sub(depth, 1), // what is no JSON may end more than it began
            _ => {}
        }
    }
    deepest
}

/// Where the string whose text begins at `at` has ended.
fn string_end(bytes: &[u8], mut at: usize) -> Result<usize, String> {
    loop {
        match bytes.get(at) {
            None => return Ok(at),
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') if bytes.get(at + 1) == Some(&b'u') => at = unicode_end(bytes, at)?,
            Some(b'\\') => at += 2,
            Some(0) => return Err(NUL.into()),
            Some(_) => at += 1,
        }
    }
}

pub(super) const NUL: &str = "must not contain NUL (U+0000)";

/// Where the escape `\u0041` at `at`, or the two of a surrogate pair, have ended.
fn unicode_end(bytes: &[u8], at: usize) -> Result<usize, String> {
    match escaped(bytes, at) {
        Some(0) => Err(NUL.into()),
        Some(high @ 0xd800..0xdc00) => match escaped(bytes, at + 6) {
            Some(0xdc00..0xe000) => Ok(at + 12),
            _ => Err(half(high)),
        },
        Some(low @ 0xdc00..0xe000) => Err(half(low)),
        _ => Ok(at + 6),
    }
}

fn half(unit: u16) -> String {
    format!("holds \\u{unit:04x}, one half of a surrogate pair, which is no character")
}

/// The code unit of the escape, such as `\u0041`, that begins at `at`, if one does.
fn escaped(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    let digits = std::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E')
}

/// Whether a number is a finite double, and neither its exponent nor its digits are beyond PostgreSQL.
fn is_held(number: &str) -> bool {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent = exponent.parse::<i64>().unwrap_or(i64::MAX);
    let after_point = digits.split_once('.').map_or(0, |(_, after)| after.len());
    let after_point = i64::try_from(after_point).unwrap_or(i64::MAX);
    let is_finite = number.parse::<f64>().is_ok_and(f64::is_finite);
    is_finite
        && (-MAX_SCALE..=MAX_SCALE).contains(&exponent)
        && after_point.saturating_sub(exponent) <= MAX_SCALE
}

fn out_of_range(number: &str) -> String {
    match number.get(..SHOWN) {
        Some(begin) => format!("holds the number {begin}…, which no double can hold"),
        None => format!("holds the number {number}, which no double can hold"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_kept(json: &str) -> bool {
        unreadable(json).is_none()
    }

    #[test]
    fn halves_of_surrogate_pairs_and_nul_are_refused_in_values_and_keys() {
        for text in [
            r"\ud83d",
            r"\uD83D",
            r"\ude00",
            r"\ude00\ud83d",
            r"\ud83d\ud83d\ude00",
            r"\ud83d\\ude00",
            r"\ud83dx\ude00",
            r"\ud83d\n",
            r"\\\ud83d",
            r"\u0000",
            r"a\u0000b",
        ] {
            for json in [
                format!(r#"{{"a":"{text}"}}"#),
                format!(r#"{{"{text}":1}}"#),
                format!(r#"{{"a":[{{"b":["x","{text}"]}}]}}"#),
            ] {
                assert!(!is_kept(&json), "{json}");
            }
        }
        for text in [
            r"\ud83d\ude00",
            r"\\ud83d",
            r"\\u0000",
            r"\u0001\uffff\ud7ff\ue000",
            r#"\"\ud83d\ude00\""#,
            "😀",
            "1e999",
        ] {
            assert!(is_kept(&format!(r#"{{"{text}":"{text}"}}"#)), "{text}");
        }
    }

    #[test]
    fn numbers_that_no_reader_holds_are_refused() {
        let digits = |count| "1".repeat(count);
        for number in [
            "1e999",
            "-1E+309",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "1e-16384",
            "0e99999",
            &digits(310),
            &format!("0.{}", digits(16_384)),
        ] {
            for json in [format!(r#"{{"n":{number}}}"#), format!("[0,[{number}]]")] {
                assert!(!is_kept(&json), "{json}");
            }
        }
        for number in [
            "0",
            "-0.0",
            "1e308",
            "1.7976931348623157e308",
            "1e-400",
            "9007199254740993",
            "123456789012345678901234567890",
            &digits(300),
            &format!("0.{}", digits(16_383)),
        ] {
            assert!(is_kept(&format!(r#"{{"n":{number}}}"#)), "{number}");
        }
    }

    #[test]
    fn nesting_is_counted_outside_of_strings() {
        let nested = |levels: usize| {
            let inner = levels - 1;
            let (open, close) = ("[".repeat(inner), "]".repeat(inner));
            format!(r#"{{"[\"{{[[":{open}{close}}}"#)
        };
        for levels in [1, 2, 49, MAX_DEPTH] {
            assert_eq!(depth(&nested(levels)), levels);
            assert!(is_kept(&nested(levels)), "{levels}");
        }
        for levels in [MAX_DEPTH + 1, 1_000] {
            let rule = unreadable(&nested(levels)).expect("it is too deep");
            assert!(rule.contains(&levels.to_string()), "{rule}");
        }
    }

    #[test]
    fn what_is_no_json_ends_as_well() {
        for text in [
            "",
            "\"",
            "\"\\",
            "\"\\u",
            "\"\\u00",
            "]]]}",
            "-",
            "\"\\ud83d\\",
            "é\"é",
        ] {
            let _ = unreadable(text);
        }
    }
}
