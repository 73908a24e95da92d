//! `ETag` and `If-None-Match`: a page that the client has is not sent again.

use super::wire::ConversationResponse;
use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, HeaderValue};
use guestbook_core::{Conversation, content_hash};
use uuid::Uuid;

/// Identifies the bytes of a page. The same on every node, since it depends only on the database.
#[derive(Clone, Debug)]
pub(super) struct EntityTag(pub(super) HeaderValue);

/// What every page of a database depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// A restored database has another one.
    pub(super) epoch: Uuid,
    /// Changes when another process has written to the file; 0 for databases that several nodes write to.
    pub(super) generation: u64,
}

impl EntityTag {
    /// The tag of the page at `question`. The row of a conversation has the number of its messages and the hash over them, and
    /// stored messages never change; another version of this program may serialize them differently.
    pub(super) fn of(question: &str, origin: Origin, conversation: &Conversation) -> Self {
        let Origin { epoch, generation } = origin;
        let row = serde_json::to_string(&ConversationResponse::from(conversation))
            .expect("a String takes every byte, and there is no map with odd keys");
        let version = env!("CARGO_PKG_VERSION");
        let named = format!("{version}\n{epoch}\n{generation}\n{question}\n{row}");
        let digest = content_hash(&named).to_hex();
        let tag = HeaderValue::from_str(&format!("\"{}\"", &digest[..32]));
        Self(tag.expect("hex digits are a legal value"))
    }

    /// Whether `If-None-Match` names it.
    pub(super) fn is_known_by(&self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(IF_NONE_MATCH).iter();
        let tags = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        tags.map(<[u8]>::trim_ascii)
            .map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag))
            .any(|tag| tag == b"*" || tag == self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_however_it_is_written_and_no_other_is() {
        let tag = EntityTag(HeaderValue::from_static("\"a1\""));
        let known = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_NONE_MATCH, HeaderValue::from_static(value));
            }
            tag.is_known_by(&headers)
        };
        let hits: [&[&str]; 6] = [
            &["\"a1\""],
            &["W/\"a1\""],
            &["*"],
            &["\"b2\", \"a1\""],
            &["\"b2\",W/\"a1\" "],
            &["\"b2\"", "\"a1\""],
        ];
        for values in hits {
            assert!(known(values), "{values:?}");
        }
        let misses: [&[&str]; 5] = [&[], &[""], &["a1"], &["\"a\""], &["\"a1\"x, \"A1\""]];
        for values in misses {
            assert!(!known(values), "{values:?}");
        }
    }
}
