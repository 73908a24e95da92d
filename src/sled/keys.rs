//! The layout of lists over sled's sorted keys.
//!
//! | tree | key | value |
//! |---|---|---|
//! | items | `guest 0x00 sequence(8, big-endian) chunk(2, big-endian)` | a piece of an item record |
//! | heads | `guest` | a head record |
//! | expiry | `expires_at(8, big-endian, sign flipped) guest` | nothing |
//! | meta | `incarnation` | a UUID |
//! | meta | `probe` | nothing; written by the write probe |
//!
//! A guest id contains no NUL, so the key ranges of two guests never interleave.

use guestbook_core::{GuestId, Timestamp};
use std::ops::{Range, RangeTo};

/// The key of the incarnation in the meta tree.
pub(super) const INCARNATION: &[u8] = b"incarnation";
/// The key of the write probe.
pub(super) const PROBE: &[u8] = b"probe";

const SEPARATOR: u8 = 0;
const SEQUENCE_BYTES: usize = 8;
const CHUNK_BYTES: usize = 2;
const TIME_BYTES: usize = 8;
/// Makes negative times sort before positive ones as unsigned bytes.
const SIGN: u64 = 1 << 63;

/// The key of one chunk of an item.
pub(super) fn item(guest: &GuestId, sequence: u64, chunk: u16) -> Vec<u8> {
    let name = guest.as_str().as_bytes();
    let mut key = Vec::with_capacity(name.len() + 1 + SEQUENCE_BYTES + CHUNK_BYTES);
    key.extend_from_slice(name);
    key.push(SEPARATOR);
    key.extend_from_slice(&sequence.to_be_bytes());
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// Every item key of these sequences of a guest.
pub(super) fn items(guest: &GuestId, sequences: Range<u64>) -> Range<Vec<u8>> {
    item(guest, sequences.start, 0)..item(guest, sequences.end, 0)
}

/// Every item key a guest can have.
pub(super) fn all_items(guest: &GuestId) -> Range<Vec<u8>> {
    let name = guest.as_str().as_bytes();
    [name, &[SEPARATOR]].concat()..[name, &[SEPARATOR + 1]].concat()
}

/// The sequence and the chunk of an item's key.
pub(super) fn place(key: &[u8]) -> Option<(u64, u16)> {
    let (rest, chunk) = key.split_last_chunk::<CHUNK_BYTES>()?;
    let (_, sequence) = rest.split_last_chunk::<SEQUENCE_BYTES>()?;
    Some((u64::from_be_bytes(*sequence), u16::from_be_bytes(*chunk)))
}

/// The key of a guest's head.
pub(super) fn head(guest: &GuestId) -> &[u8] {
    guest.as_str().as_bytes()
}

/// The guest of a head's key.
pub(super) fn guest(key: &[u8]) -> Option<GuestId> {
    GuestId::parse_stored(std::str::from_utf8(key).ok()?).ok()
}

/// The key of a list in the expiry tree.
pub(super) fn expiry(at: Timestamp, guest: &GuestId) -> Vec<u8> {
    [&sortable(at.ms())[..], guest.as_str().as_bytes()].concat()
}

/// The range of expiry keys due at `now`.
pub(super) fn due(now: Timestamp) -> RangeTo<Vec<u8>> {
    ..sortable(now.ms().saturating_add(1)).to_vec()
}

/// The time and the guest of an expiry key.
pub(super) fn waiting(key: &[u8]) -> Option<(Timestamp, GuestId)> {
    let (time, name) = key.split_first_chunk::<TIME_BYTES>()?;
    let ms = (u64::from_be_bytes(*time) ^ SIGN).cast_signed();
    Some((Timestamp::from_ms(ms), guest(name)?))
}

fn sortable(ms: i64) -> [u8; TIME_BYTES] {
    (ms.cast_unsigned() ^ SIGN).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> GuestId {
        GuestId::parse(text).unwrap()
    }

    #[test]
    fn items_sort_by_sequence_then_chunk_and_read_back() {
        let guest = named("g");
        let places = [
            (0, 0),
            (0, 1),
            (0, 256),
            (1, 0),
            (255, 9),
            (256, 0),
            (u64::MAX, u16::MAX),
        ];
        let keys: Vec<_> = places.iter().map(|&(s, c)| item(&guest, s, c)).collect();
        assert!(keys.is_sorted());
        let read: Vec<_> = keys.iter().map(|key| place(key).unwrap()).collect();
        assert_eq!(read, places);
        assert!(keys.iter().all(|key| all_items(&guest).contains(key)));
    }

    #[test]
    fn a_guest_whose_name_begins_like_another_is_never_touched() {
        let range = all_items(&named("g"));
        for other in ["g-", "g0", "gg", "f", "h", "g~"] {
            for sequence in [0, 0x0100_0000_0000_0000, u64::MAX] {
                assert!(
                    !range.contains(&item(&named(other), sequence, 0)),
                    "{other}"
                );
            }
        }
    }

    #[test]
    fn expiry_keys_sort_by_time_also_before_1970() {
        let guest = named("g");
        let times = [-62_167_219_200_000, -1, 0, 1, 253_402_300_799_999];
        let keys: Vec<_> = times
            .iter()
            .map(|&ms| expiry(Timestamp::from_ms(ms), &guest))
            .collect();
        assert!(keys.is_sorted());
        for (key, ms) in keys.iter().zip(times) {
            assert_eq!(
                waiting(key),
                Some((Timestamp::from_ms(ms), named("g"))),
                "{ms}"
            );
            assert!(due(Timestamp::from_ms(ms)).contains(key));
            assert!(!due(Timestamp::from_ms(ms - 1)).contains(key) || ms == times[0]);
        }
    }

    #[test]
    fn keys_that_are_none_of_ours_are_no_places() {
        assert_eq!(place(b"short"), None);
        assert_eq!(waiting(b"\0\0\0"), None);
        assert_eq!(waiting(b"\0\0\0\0\0\0\0\0no guest"), None);
        assert_eq!(guest(&[0xff]), None);
    }
}
