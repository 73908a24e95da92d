//! The laws of the words, for inputs that nobody thought of; see fuzz/.

use super::{Content, GuestId, IdempotencyKey, Metadata, OwnerId, Role, Timestamp, tokens};
use serde::de::IgnoredAny;
use serde_json::Value;

/// The contract's own list of what may stand in a guest's id.
const GUEST_ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~:@-";
/// Small, so that the fuzzer meets it.
const CONTENT_LIMIT: usize = 64;

/// Reads a text as every word of the field there is.
pub fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    guest(text);
    owner(text);
    key(text);
    time(text);
    content(text);
    metadata(text);
    if let Ok(role) = Role::parse(text) {
        assert_eq!(role.as_str(), text);
        assert_eq!(Role::from_code(role.code()), Some(role));
    }
}

fn guest(text: &str) {
    let is_legal =
        (1..=128).contains(&text.len()) && text.chars().all(|c| GUEST_ALPHABET.contains(c));
    let is_stored = GuestId::parse_stored(text).is_ok();
    assert_eq!(is_stored, is_legal);
    let is_legal = is_legal && !is_dots(text);
    match GuestId::parse(text) {
        Ok(guest) => assert!(is_legal && guest.as_str() == text && guest.to_string() == text),
        Err(fault) => assert!(!is_legal && fault.field == "guest_id"),
    }
}

fn is_dots(text: &str) -> bool {
    [".", ".."].contains(&text)
}

fn owner(text: &str) {
    let is_blank = text.chars().all(char::is_whitespace);
    let is_legal = !is_blank && text.len() <= 128 && !text.chars().any(char::is_control);
    assert_eq!(OwnerId::parse_stored("user", text).is_ok(), is_legal);
    let is_legal = is_legal && !is_dots(text);
    match OwnerId::parse("user", text) {
        Ok(owner) => assert!(is_legal && owner.as_str() == text),
        Err(fault) => assert!(!is_legal && fault.field == "user"),
    }
}

fn key(text: &str) {
    let is_legal = (1..=255).contains(&text.len())
        && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && text.bytes().any(|byte| byte != b' ');
    let Ok(key) = IdempotencyKey::parse(text) else {
        return assert!(!is_legal);
    };
    assert!(is_legal);
    let [a, b] = ["a", "b"].map(|name| GuestId::parse(name).expect("a legal id"));
    assert_eq!(key.message_id(&a), key.message_id(&a));
    assert_ne!(key.message_id(&a), key.message_id(&b));
    assert_ne!(key.message_id(&a), key.of_part(0).message_id(&a));
    assert_ne!(key.of_part(1).message_id(&a), key.of_part(0).message_id(&a));
}

/// What is plainly a time is one; what is taken as one is written so that it is read as the same moment.
fn time(text: &str) {
    let Ok(time) = Timestamp::parse(text) else {
        return assert!(!is_plain(text), "a time is refused");
    };
    let (shown, stored) = (time.to_string(), time.stored());
    assert_eq!(Timestamp::parse(&shown), Ok(time));
    assert_eq!(Timestamp::parse(&stored), Ok(time));
    assert_eq!(Timestamp::from_ms(time.ms()), time);
    assert_eq!(stored.len(), 24);
    if is_plain(text) {
        assert_eq!(shown, text);
    }
    let later = Timestamp::from_ms(time.ms().saturating_add(1));
    assert!(later == time || later.stored() > stored);
    assert!(time.hour() <= time && time.same_month(time));
}

/// `2025-12-21T12:00:00Z`, and on a day that every month has.
fn is_plain(text: &str) -> bool {
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let shape: String = text.chars().map(shape).collect();
    let number = |at: usize| text[at..at + 2].parse::<u32>().unwrap_or(99);
    shape == "0000-00-00T00:00:00Z"
        && (1..=12).contains(&number(5))
        && (1..=28).contains(&number(8))
        && number(11) < 24
        && number(14) < 60
        && number(17) < 60
}

fn content(text: &str) {
    let is_legal = !text.trim().is_empty() && text.len() <= CONTENT_LIMIT && !text.contains('\0');
    match Content::parse(text, CONTENT_LIMIT) {
        Ok(content) => assert!(is_legal && content.as_str() == text),
        Err(fault) => assert!(!is_legal && fault.field == "content"),
    }
    assert_eq!(tokens(text) == 0, text.trim().is_empty());
}

/// What has the grammar of JSON and was taken can be read back, and holds no NUL, however it is escaped.
fn metadata(text: &str) {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return;
    }
    if let Ok(metadata) = Metadata::parse(text) {
        let object: Value = serde_json::from_str(text).expect("what is kept can be read");
        assert!(metadata.as_str() == text && text.len() <= 4096);
        assert!(object.is_object() && !holds_nul(&object), "{text}");
    }
}

/// Whether a NUL stands in any text of a JSON value.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(all) => all.iter().any(holds_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_breaks_no_law_of_the_words() {
        guestbook_fuzz_corpus::replay("words", super::words);
    }
}
