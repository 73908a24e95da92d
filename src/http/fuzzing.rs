//! Fuzz targets for request bodies; see fuzz/.

use super::Problem;
use super::wire::{MessageRequest, MigrationRequest, read_object};
use axum::http::StatusCode;
use guestbook_core::{ClientId, GuestId, InvalidField, NewMessage, Role};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Small, so that the fuzzer reaches it.
const CONTENT_LIMIT: usize = 256;
const FIELDS: [&str; 6] = ["guest_id", "role", "content", "timestamp", "id", "metadata"];

/// Parses a body as a message with its guest, as one without, and as a migration.
pub fn bodies(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    message(text);
    migration(text);
}

fn message(text: &str) {
    let incoming: MessageRequest<'_> = match read_object(text) {
        Ok(incoming) => incoming,
        Err(problem) => return refused(&problem, text),
    };
    let named = incoming.for_its_guest(None, CONTENT_LIMIT);
    match &named {
        Ok(message) => {
            assert_obeys(message);
            assert_says_what_the_json_says(message, text);
            assert_reads_back(message);
        }
        Err(fault) => assert_names_a_field(fault),
    }
    let guest = GuestId::parse("g").expect("a legal id");
    match incoming.for_guest(&guest, None, CONTENT_LIMIT) {
        Ok(message) => {
            assert_obeys(&message);
            // The same except for the guest, whom this form need not name.
            match &named {
                Ok(named) => assert_eq!(named.hash, message.hash),
                Err(fault) => assert_eq!(fault.field, "guest_id"),
            }
        }
        Err(fault) => assert!(named.is_err() && fault.field != "guest_id"),
    }
}

/// Invalid JSON is a 400, and JSON of another shape a 422. Half a surrogate pair and a number out of range are valid JSON by its
/// grammar and unreadable: either is accepted.
fn refused(problem: &Problem, text: &str) {
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    match problem.status() {
        StatusCode::UNPROCESSABLE_ENTITY => assert!(is_json, "{problem:?}"),
        status => {
            assert_eq!(status, StatusCode::BAD_REQUEST);
            let is_readable = serde_json::from_str::<Value>(text).is_ok();
            assert!(!is_json || !is_readable, "{problem:?}");
        }
    }
}

fn assert_names_a_field(fault: &InvalidField) {
    assert!(FIELDS.contains(&fault.field.as_str()), "{fault:?}");
}

/// The contract's limits.
fn assert_obeys(message: &NewMessage) {
    let (guest, content) = (message.guest.as_str(), message.content.as_str());
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:@-".contains(&byte);
    assert!((1..=128).contains(&guest.len()) && guest.bytes().all(is_legal));
    assert!(!content.trim().is_empty() && content.len() <= CONTENT_LIMIT);
    assert!(!content.contains('\0'));
    if let Some(metadata) = &message.metadata {
        let text = metadata.as_str();
        assert!(text.len() <= 4096 && text.starts_with('{'));
        let value: Value = serde_json::from_str(text).expect("what is kept can be read");
        assert!(!holds_nul(&value), "{text}");
    }
}

/// Another JSON parser reads the same.
fn assert_says_what_the_json_says(message: &NewMessage, text: &str) {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return; // nested too deeply for it, in a field that we ignore
    };
    assert_eq!(json["guest_id"], message.guest.as_str());
    assert_eq!(json["content"], message.content.as_str());
    assert_eq!(json["role"], message.role.as_str());
    assert_eq!(json["metadata"].is_object(), message.metadata.is_some());
    assert_eq!(json["id"].is_string(), message.client_id.is_some());
    assert!(Role::ALL.contains(&message.role));
}

/// Serialized again it is the same message.
fn assert_reads_back(message: &NewMessage) {
    let metadata = message
        .metadata
        .as_ref()
        .map(|metadata| metadata.as_str().to_owned());
    let metadata = metadata.map(|text| RawValue::from_string(text).expect("it was JSON before"));
    let mut json = serde_json::to_string(&json!({
        "guest_id": message.guest.as_str(),
        "role": message.role.as_str(),
        "content": message.content.as_str(),
        "timestamp": message.is_timed.then(|| message.sent_at.to_string()),
        "id": message.client_id.as_ref().map(ClientId::as_str),
    }))
    .expect("texts are always JSON");
    if let Some(metadata) = metadata {
        json.truncate(json.len() - 1);
        json.push_str(&format!(r#","metadata":{}}}"#, metadata.get()));
    }
    let again: MessageRequest<'_> = read_object(&json).expect("an object");
    let again = again
        .for_its_guest(None, CONTENT_LIMIT)
        .expect("it was taken before");
    assert_eq!(
        (&again.client_id, &again.guest),
        (&message.client_id, &message.guest)
    );
    assert_eq!((again.role, again.sent_at), (message.role, message.sent_at));
    assert_eq!(
        (&again.content, again.hash),
        (&message.content, message.hash)
    );
    assert_eq!(
        (&again.metadata, again.tokens),
        (&message.metadata, message.tokens)
    );
}

fn migration(text: &str) {
    match read_object::<MigrationRequest<'_>>(text) {
        Err(problem) => refused(&problem, text),
        Ok(incoming) => match incoming.user() {
            Ok(user) => assert!((1..=128).contains(&user.as_str().len())),
            Err(fault) => assert_eq!(fault.field, "authenticated_user_id"),
        },
    }
}

/// Whether any text of a JSON value contains a NUL.
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
    fn the_corpus_breaks_no_law_of_bodies() {
        guestbook_fuzz_corpus::replay("bodies", super::bodies);
    }
}
