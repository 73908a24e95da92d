//! Splits a body into messages as text, keeping no more of them than may be stored.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The first `KEPT` elements of an array or of lines, and their full number. A body of a few MiB can have millions.
pub(crate) struct Elements<T, const KEPT: usize> {
    pub(crate) first: Vec<T>,
    pub(crate) count: usize,
}

/// A line, or the number of one that is not UTF-8; the first is 1.
pub(crate) type Line<'a> = Result<&'a str, usize>;

impl<'a, const KEPT: usize> Elements<Line<'a>, KEPT> {
    /// The lines of a body that are not blank.
    pub(crate) fn of_lines(body: &'a [u8]) -> Self {
        let lines = body.split(|byte| *byte == b'\n').enumerate();
        let lines = lines.map(|(at, line)| std::str::from_utf8(line).map_err(|_| at + 1));
        let is_blank = |line: &Line<'_>| line.is_ok_and(|line| line.trim().is_empty());
        let mut lines = lines.filter(|line| !is_blank(line));
        let first: Vec<_> = lines.by_ref().take(KEPT).collect();
        let count = first.len() + lines.count();
        Self { first, count }
    }
}

impl<'de, const KEPT: usize> Deserialize<'de> for Elements<&'de str, KEPT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ArrayVisitor)
    }
}

struct ArrayVisitor<const KEPT: usize>;

impl<'de, const KEPT: usize> Visitor<'de> for ArrayVisitor<KEPT> {
    type Value = Elements<&'de str, KEPT>;

    fn expecting(&self, words: &mut fmt::Formatter<'_>) -> fmt::Result {
        words.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut first = Vec::new();
        while first.len() < KEPT {
            let Some(element) = elements.next_element::<&RawValue>()? else {
                let count = first.len();
                return Ok(Elements { first, count });
            };
            first.push(element.get());
        }
        let mut count = first.len();
        while elements.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Elements { first, count })
    }
}
