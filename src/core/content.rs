//! What a message says and what rides along with it, checked once and shared cheaply afterwards.

use super::InvalidField;
use super::json::{NUL, unreadable};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The text of a message: not blank, no NUL (PostgreSQL cannot hold one), within the configured size.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Content(Arc<str>);

impl Content {
    /// Checks the text; `limit` is in bytes of UTF-8.
    pub fn parse(text: &str, limit: usize) -> Result<Self, InvalidField> {
        let fault = |rule: String| Err(InvalidField::new("content", rule));
        if text.trim().is_empty() {
            return fault("must not be blank".into());
        }
        if text.len() > limit {
            return fault(format!("is {} bytes; at most {limit} are kept", text.len()));
        }
        if text.contains('\0') {
            return fault(NUL.into());
        }
        Ok(Self(text.into()))
    }

    /// Takes a value that a store holds and that was checked when it was written.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many tokens a text counts for: its whitespace-separated words, as the old service counted.
pub fn tokens(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// A JSON object that the client wants kept with a message, held as its compact text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metadata(Arc<str>);

impl Metadata {
    /// At most this many bytes of JSON, as the client sent it.
    pub const MAX_BYTES: usize = 4096;

    /// Checks JSON text that was parsed as part of a larger document: an object, small enough, and one that others can read back.
    pub fn parse(json: &str) -> Result<Self, InvalidField> {
        let fault = |rule: String| Err(InvalidField::new("metadata", rule));
        if !json.starts_with('{') {
            return fault("must be a JSON object".into());
        }
        if json.len() > Self::MAX_BYTES {
            let size = json.len();
            return fault(format!(
                "is {size} bytes; at most {} are kept",
                Self::MAX_BYTES
            ));
        }
        if let Some(rule) = unreadable(json) {
            return fault(rule);
        }
        Ok(Self(json.into()))
    }

    /// Takes a value that a store holds and that was checked when it was written.
    pub fn from_stored(json: &str) -> Self {
        Self(json.into())
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both are the same JSON, whatever the order of members and the white space: a client that sends a message again
    /// may write it anew.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let read = |json| serde_json::from_str::<&RawValue>(json).ok();
        self.0 == other.0
            || matches!((read(&self.0), read(&other.0)), (Some(one), Some(other)) if is_same(one, other))
    }
}

/// Whether two JSON texts say the same. Numbers are compared as they are written: no type holds every number of JSON.
fn is_same(one: &RawValue, other: &RawValue) -> bool {
    type Object<'a> = BTreeMap<String, &'a RawValue>;
    let (one, other) = (one.get(), other.get());
    let both = |begins: char| one.starts_with(begins) && other.starts_with(begins);
    if one == other {
        true
    } else if both('{') {
        let members = |(one, other): ((&String, &&RawValue), (&String, &&RawValue))| {
            one.0 == other.0 && is_same(one.1, other.1)
        };
        alike::<Object<'_>>(one, other).is_some_and(|(one, other)| {
            one.len() == other.len() && one.iter().zip(&other).all(members)
        })
    } else if both('[') {
        alike::<Vec<&RawValue>>(one, other).is_some_and(|(one, other)| {
            one.len() == other.len()
                && one
                    .into_iter()
                    .zip(other)
                    .all(|(one, other)| is_same(one, other))
        })
    } else {
        both('"') && alike::<String>(one, other).is_some_and(|(one, other)| one == other)
    }
}

fn alike<'a, T: Deserialize<'a>>(one: &'a str, other: &'a str) -> Option<(T, T)> {
    Some((
        serde_json::from_str(one).ok()?,
        serde_json::from_str(other).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_refused_when_blank_too_long_or_holding_nul() {
        for bad in ["", " \t\n\u{a0}", "a\0b", "12345"] {
            assert_eq!(
                Content::parse(bad, 4).unwrap_err().field,
                "content",
                "{bad:?}"
            );
        }
        assert_eq!(Content::parse("é12", 4).unwrap().as_str(), "é12");
    }

    #[test]
    fn metadata_is_a_small_object_that_others_can_read() {
        for good in [
            r#"{"a":"\\u0000"}"#,
            r#"{"a":1,"a":2}"#,
            r#"{ "a" : 1.50 }"#,
        ] {
            assert_eq!(Metadata::parse(good).unwrap().as_str(), good);
        }
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(4096));
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(50), "]".repeat(50));
        for bad in [
            r#"{"a":"\u0000"}"#,
            r#"{"n":"\ud83d"}"#,
            r#"{"\ud83d":1}"#,
            r#"{"n":1e999}"#,
            "[1]",
            "3",
            "null",
            &large,
            &deep,
        ] {
            assert_eq!(Metadata::parse(bad).unwrap_err().field, "metadata", "{bad}");
        }
    }

    #[test]
    fn metadata_says_the_same_in_any_order_of_members_and_with_any_white_space() {
        let read = |json: &str| Metadata::parse(json).unwrap();
        let one = read(r#"{"a":1,"b":["x",{"c":null}]}"#);
        assert!(one.says_the_same(&read(r#"{ "b": ["x", {"c":null}], "a":1 }"#)));
        assert!(one.says_the_same(&read(r#"{"a":1,"b":["\u0078",{"c":null}]}"#)));
        for other in [
            "{}",
            r#"{"a":1,"b":[{"c":null},"x"]}"#,
            r#"{"a":"1","b":["x",{"c":null}]}"#,
            r#"{"a":1,"b":["x",{"c":null}],"d":0}"#,
        ] {
            assert!(!one.says_the_same(&read(other)), "{other}");
        }
        let large = |last: u8| read(&format!(r#"{{"n":1234567890123456789012{last}}}"#));
        assert!(!large(1).says_the_same(&large(2)));
    }
}
