//! Keys and values in Redis, where other programs read them too.

use ::redis::{FromRedisValue, Value};
use guestbook_core::{Content, ConversationId, GuestId, Role, Timestamp};
use guestbook_storage::list_cache::{Head, Item, Origin};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use uuid::Uuid;

/// The `SCAN` pattern that matches every head.
pub(super) const EVERY_HEAD: &str = "{guest:*}:head";

/// An item as clients read it, including those that read Redis directly.
#[derive(Deserialize, Serialize)]
struct ItemJson<'a> {
    role: &'a str,
    #[serde(borrow)]
    content: Cow<'a, str>,
    timestamp: Cow<'a, str>,
}

/// The keys of a guest's list and its head. A cluster hashes the text in braces, here the whole name of the list, so that both
/// are on one node; and the braces keep the head out of `KEYS guest:*`.
pub(super) fn keys(guest: &GuestId) -> [String; 2] {
    [format!("guest:{guest}"), format!("{{guest:{guest}}}:head")]
}

/// The guest of a head's key; `None` for any other key.
pub(super) fn guest_of_head(key: &str) -> Option<GuestId> {
    let name = key.strip_prefix("{guest:")?.strip_suffix("}:head")?;
    GuestId::parse_stored(name).ok()
}

/// `{"role":…,"content":…,"timestamp":…}`.
pub(super) fn encode_item(item: &Item) -> Vec<u8> {
    let json = ItemJson {
        role: item.role.as_str(),
        content: item.content.as_str().into(),
        timestamp: item.timestamp.to_string().into(),
    };
    serde_json::to_vec(&json).expect("three texts are always JSON")
}

/// Decodes an item; the error says what is wrong with it.
pub(super) fn decode_item(json: &[u8]) -> Result<Item, &'static str> {
    // serde would read the elements of an array as the fields of a struct.
    let item: ItemJson<'_> = Some(json)
        .filter(|json| json.trim_ascii_start().starts_with(b"{"))
        .and_then(|json| serde_json::from_slice(json).ok())
        .ok_or("it is not the JSON of a message")?;
    Ok(Item {
        role: Role::parse(item.role).map_err(|_| "its role is unknown")?,
        content: Content::from_stored(&item.content),
        timestamp: Timestamp::parse(&item.timestamp).map_err(|_| "its time cannot be read")?,
    })
}

/// Decodes epoch, conversation, from, next and expires_at; `None` if one of them is not in our format.
pub(super) fn decode_head(fields: &[Value]) -> Option<Head> {
    let text = |at: usize| String::from_redis_value_ref(fields.get(at)?).ok();
    let head = Head {
        origin: Origin {
            epoch: Uuid::parse_str(&text(0)?).ok()?,
            conversation: ConversationId(Uuid::parse_str(&text(1)?).ok()?),
        },
        from: text(2)?.parse().ok()?,
        next: text(3)?.parse().ok()?,
        expires_at: Timestamp::from_ms(text(4)?.parse().ok()?),
    };
    Some(head).filter(|head| head.from <= head.next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_item_is_the_json_that_clients_read() {
        let item = Item {
            role: Role::User,
            content: Content::from_stored("a \"quoted\"\n\u{1F600}"),
            timestamp: Timestamp::parse("2025-12-21T12:00:00Z").unwrap(),
        };
        let json =
            r#"{"role":"user","content":"a \"quoted\"\n😀","timestamp":"2025-12-21T12:00:00Z"}"#;
        assert_eq!(encode_item(&item), json.as_bytes());
        assert_eq!(decode_item(json.as_bytes()), Ok(item));
    }

    #[test]
    fn what_is_no_item_is_refused_with_the_reason() {
        let cases = [
            ("", "it is not the JSON of a message"),
            (r#"{"role":"user"}"#, "it is not the JSON of a message"),
            (
                r#"["user","hi","2025-12-21T12:00:00Z"]"#,
                "it is not the JSON of a message",
            ),
            (
                r#"{"role":"robot","content":"","timestamp":"2025-12-21T12:00:00Z"}"#,
                "its role is unknown",
            ),
            (
                r#"{"role":"user","content":"","timestamp":"soon"}"#,
                "its time cannot be read",
            ),
        ];
        for (json, reason) in cases {
            assert_eq!(decode_item(json.as_bytes()), Err(reason), "{json}");
        }
    }

    #[test]
    fn a_head_is_found_by_its_key_and_nothing_else_is() {
        let guest = GuestId::parse("a:b@c~").unwrap();
        let [list, head] = keys(&guest);
        assert_eq!((&*list, &*head), ("guest:a:b@c~", "{guest:a:b@c~}:head"));
        assert_eq!(guest_of_head(&head), Some(guest));
        for other in [&*list, "{guest:}:head", "{guest:a b}:head", "{guest:a}"] {
            assert_eq!(guest_of_head(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn items_round_trip(code in 0_u8..4, text in ".{0,300}", ms in -62_167_219_200_000_i64..253_402_300_799_999) {
            let item = Item {
                role: Role::from_code(code).unwrap(),
                content: Content::from_stored(&text),
                timestamp: Timestamp::from_ms(ms),
            };
            prop_assert_eq!(decode_item(&encode_item(&item)).unwrap(), item);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, fields: Vec<Vec<u8>>) {
            let _ = decode_item(&bytes);
            let fields: Vec<_> = fields.into_iter().map(Value::BulkString).collect();
            let _ = decode_head(&fields);
        }
    }
}
