//! The bytes of a list on disk. The only use of bincode.
//!
//! A record is a version byte, the payload in bincode and a CRC-32 over both. bincode cannot read an older shape of a struct,
//! so **a changed payload needs a new version byte**, and a test that reads the old one.

use super::fault::{SledFault, SledResult};
use bincode::Options;
use guestbook_core::{Content, ConversationId, Role, Timestamp};
use guestbook_storage::list_cache::{Head, Item, Origin};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const ITEM_VERSION: u8 = 1;
const HEAD_VERSION: u8 = 1;
const CRC_BYTES: usize = 4;
/// Bounds the allocation for a damaged length; far above the largest message that is accepted.
const PAYLOAD_LIMIT_BYTES: u64 = 16 << 20;

/// A head as stored, with the time of its one entry in the expiry tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct StoredHead {
    pub(super) head: Head,
    /// At or before `head.expires_at`: a list whose expiry is extended is not moved in the expiry tree, but found there early and then
    /// re-armed.
    pub(super) indexed_at: Timestamp,
}

#[derive(Deserialize, Serialize)]
struct ItemV1<'a> {
    role: u8,
    timestamp_ms: i64,
    content: &'a str,
}

#[derive(Deserialize, Serialize)]
struct HeadV1 {
    epoch: [u8; 16],
    conversation: [u8; 16],
    from: u64,
    next: u64,
    expires_at_ms: i64,
    indexed_at_ms: i64,
}

/// Encodes an item.
pub(super) fn encode_item(item: &Item) -> SledResult<Vec<u8>> {
    let payload = ItemV1 {
        role: item.role.code(),
        timestamp_ms: item.timestamp.ms(),
        content: item.content.as_str(),
    };
    seal(ITEM_VERSION, &payload)
}

/// Decodes an item; the error says what is wrong with the bytes.
pub(super) fn decode_item(record: &[u8]) -> Result<Item, &'static str> {
    let item: ItemV1<'_> = open(ITEM_VERSION, record)?;
    Ok(Item {
        role: Role::from_code(item.role).ok_or("its role is unknown")?,
        content: Content::from_stored(item.content),
        timestamp: Timestamp::from_ms(item.timestamp_ms),
    })
}

/// Encodes a head.
pub(super) fn encode_head(stored: &StoredHead) -> SledResult<Vec<u8>> {
    let payload = HeadV1 {
        epoch: *stored.head.origin.epoch.as_bytes(),
        conversation: *stored.head.origin.conversation.0.as_bytes(),
        from: stored.head.from,
        next: stored.head.next,
        expires_at_ms: stored.head.expires_at.ms(),
        indexed_at_ms: stored.indexed_at.ms(),
    };
    seal(HEAD_VERSION, &payload)
}

/// Decodes a head; the error says what is wrong with the bytes.
pub(super) fn decode_head(record: &[u8]) -> Result<StoredHead, &'static str> {
    let head: HeadV1 = open(HEAD_VERSION, record)?;
    if head.from > head.next {
        return Err("it ends before it begins");
    }
    Ok(StoredHead {
        head: Head {
            origin: Origin {
                epoch: Uuid::from_bytes(head.epoch),
                conversation: ConversationId(Uuid::from_bytes(head.conversation)),
            },
            from: head.from,
            next: head.next,
            expires_at: Timestamp::from_ms(head.expires_at_ms),
        },
        indexed_at: Timestamp::from_ms(head.indexed_at_ms),
    })
}

/// The one encoding: bincode's two entry points differ in integers and in trailing bytes, so neither is called directly.
fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_varint_encoding()
        .with_limit(PAYLOAD_LIMIT_BYTES)
        .reject_trailing_bytes()
}

fn seal(version: u8, payload: &impl Serialize) -> SledResult<Vec<u8>> {
    let mut record = vec![version];
    options()
        .serialize_into(&mut record, payload)
        .map_err(|cause| SledFault::Unwritable(cause.to_string()))?;
    let crc = crc32fast::hash(&record);
    record.extend_from_slice(&crc.to_le_bytes());
    Ok(record)
}

fn open<'a, T: Deserialize<'a>>(version: u8, record: &'a [u8]) -> Result<T, &'static str> {
    let (sealed, crc) = record
        .split_last_chunk::<CRC_BYTES>()
        .ok_or("it is too short")?;
    if crc32fast::hash(sealed) != u32::from_le_bytes(*crc) {
        return Err("its checksum is wrong");
    }
    match sealed.split_first() {
        Some((found, payload)) if *found == version => options()
            .deserialize(payload)
            .map_err(|_| "its payload cannot be read"),
        Some(_) => Err("its version is unknown to this build"),
        None => Err("it is empty"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn an_item(role: Role, text: &str, ms: i64) -> Item {
        Item {
            role,
            content: Content::from_stored(text),
            timestamp: Timestamp::from_ms(ms),
        }
    }

    fn with_crc(mut sealed: Vec<u8>) -> Vec<u8> {
        let crc = crc32fast::hash(&sealed);
        sealed.extend_from_slice(&crc.to_le_bytes());
        sealed
    }

    /// The first released bytes, which must stay readable after any change of the payload.
    #[test]
    fn version_one_is_these_bytes() {
        let item = an_item(Role::Assistant, "hi", -1);
        let bytes = with_crc(vec![1, 1, 1, 2, b'h', b'i']);
        assert_eq!(encode_item(&item).unwrap(), bytes);
        assert_eq!(decode_item(&bytes).unwrap(), item);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = encode_item(&an_item(Role::User, "hello", 1_700_000_000_000)).unwrap();
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert_eq!(decode_item(&bad), Err("its checksum is wrong"), "bit {at}");
        }
    }

    #[test]
    fn what_is_well_sealed_but_not_ours_is_refused_with_the_reason() {
        let cases = [
            (vec![], "it is empty"),
            (
                vec![9, 0, 0, 1, b'x'],
                "its version is unknown to this build",
            ),
            (vec![1, 9, 0, 1, b'x'], "its role is unknown"),
            (vec![1, 0, 0, 1, b'x', 0], "its payload cannot be read"),
            (vec![1, 0, 0, 2, b'x'], "its payload cannot be read"),
            // A length of 2^64-1 must not be allocated.
            (
                [&[1, 0, 0, 253][..], &[255; 8]].concat(),
                "its payload cannot be read",
            ),
        ];
        for (sealed, reason) in cases {
            assert_eq!(decode_item(&with_crc(sealed)), Err(reason));
        }
        assert_eq!(decode_item(b"abc"), Err("it is too short"));
    }

    #[test]
    fn a_text_beyond_the_limit_is_refused_when_written() {
        let text = "x".repeat(usize::try_from(PAYLOAD_LIMIT_BYTES).unwrap());
        assert!(encode_item(&an_item(Role::User, &text, 0)).is_err());
    }

    proptest! {
        #[test]
        fn items_round_trip(code in 0_u8..4, text in ".{0,300}", ms in -62_167_219_200_000_i64..253_402_300_799_999) {
            let item = an_item(Role::from_code(code).unwrap(), &text, ms);
            prop_assert_eq!(decode_item(&encode_item(&item).unwrap()).unwrap(), item);
        }

        #[test]
        fn heads_round_trip(ids: [u128; 2], from: u64, more in 0_u64..1000, ms: i64, earlier in 0_i64..1_000_000) {
            let head = Head {
                origin: Origin { epoch: Uuid::from_u128(ids[0]), conversation: ConversationId(Uuid::from_u128(ids[1])) },
                from,
                next: from.saturating_add(more),
                expires_at: Timestamp::from_ms(ms),
            };
            let stored = StoredHead { head, indexed_at: Timestamp::from_ms(ms.saturating_sub(earlier)) };
            prop_assert_eq!(decode_head(&encode_head(&stored).unwrap()).unwrap(), stored);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode_item(&bytes);
            let _ = decode_head(&bytes);
            // The checksum hides the payload from the fuzzer; past it nothing may panic either.
            let _ = decode_item(&with_crc([&[ITEM_VERSION][..], &bytes].concat()));
            let _ = decode_head(&with_crc([&[HEAD_VERSION][..], &bytes].concat()));
        }
    }
}
