//! A secret that travels in a header: read once, in one way, by whoever asks for it and whoever sends it.
//!
//! A key comes out of a file or a variable, often with a line end behind it. White space around it belongs to nobody's key, and a key
//! that no header can carry could never be sent: it is refused before anything is opened.

use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::str::FromStr;

/// A key that a header can carry. Shows itself to nobody.
#[derive(Clone)]
pub struct ApiKey(SecretString);

/// Why a text is no key. Never repeats it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadKey {
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// It has a control character, or one beyond ASCII.
    #[error(
        "has a line end, a control character or one beyond ASCII in it, which no header can carry"
    )]
    Unsendable,
}

impl ApiKey {
    /// The key itself: only for what is sent or compared.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl FromStr for ApiKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let key = text.trim_matches(|c: char| c.is_ascii_whitespace());
        match key {
            "" => Err(BadKey::Empty),
            _ if key.bytes().all(|byte| matches!(byte, b' '..=b'~')) => Ok(Self(key.into())),
            _ => Err(BadKey::Unsendable),
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([REDACTED])")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_key_is_no_part_of_it() {
        for text in ["key", "key\n", "\r\n\tkey \r\n"] {
            let key: ApiKey = text.parse().unwrap();
            assert_eq!(key.expose(), "key");
            assert!(!format!("{key:?}").contains("key"));
        }
        let words: ApiKey = " two words ".parse().unwrap();
        assert_eq!(words.expose(), "two words");
    }

    #[test]
    fn what_no_header_can_carry_is_no_key() {
        for (text, reason) in [
            ("", BadKey::Empty),
            (" \r\n\t", BadKey::Empty),
            ("s3\ncret", BadKey::Unsendable),
            ("s3\tcret", BadKey::Unsendable),
            ("s3\0cret", BadKey::Unsendable),
            ("s3\u{7f}cret", BadKey::Unsendable),
            ("schlüssel", BadKey::Unsendable),
            ("key\u{a0}", BadKey::Unsendable),
        ] {
            assert_eq!(text.parse::<ApiKey>().unwrap_err(), reason, "{text:?}");
        }
    }
}
