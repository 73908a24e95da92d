//! Fuzz targets for sled's records and keys; see fuzz/.

use super::{keys, records};

/// Decodes bytes as they are, and with a valid checksum: the fuzzer never guesses one.
pub fn sled(data: &[u8]) {
    record(data);
    let crc = crc32fast::hash(data).to_le_bytes();
    record(&[data, &crc].concat());
    key(data);
}

/// What is read is written so that it is read as the same, and a flipped bit is noticed.
fn record(bytes: &[u8]) {
    if let Ok(item) = records::decode_item(bytes) {
        let written = records::encode_item(&item).expect("it was read");
        assert_eq!(records::decode_item(&written).as_ref(), Ok(&item));
        assert!(written.len() <= bytes.len());
        assert!(records::decode_item(&flipped(bytes)).is_err());
    }
    if let Ok(head) = records::decode_head(bytes) {
        assert!(head.head.from <= head.head.next);
        let written = records::encode_head(&head).expect("it was read");
        assert_eq!(records::decode_head(&written), Ok(head));
        assert!(records::decode_head(&flipped(bytes)).is_err());
    }
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let last = bytes.len() / 2;
    bytes[last] ^= 1;
    bytes
}

/// A key that names something is the key of it, byte for byte.
fn key(bytes: &[u8]) {
    if let Some(guest) = keys::guest(bytes) {
        assert_eq!(keys::head(&guest), bytes);
        assert!(!keys::all_items(&guest).contains(&bytes.to_vec()));
    }
    // Times beyond the year 9999 are moved to its end, so such a key is not its own.
    if let Some((at, guest)) = keys::waiting(bytes) {
        let written = keys::expiry(at, &guest);
        assert_eq!(keys::waiting(&written), Some((at, guest)));
        assert!(keys::due(at).contains(&written));
    }
    let Some((sequence, chunk)) = keys::place(bytes) else {
        return;
    };
    let name = bytes
        .iter()
        .position(|byte| *byte == 0)
        .and_then(|end| keys::guest(&bytes[..end]));
    if let Some(guest) = name {
        let written = keys::item(&guest, sequence, chunk);
        assert_eq!(keys::place(&written), Some((sequence, chunk)));
        assert!(keys::all_items(&guest).contains(&written));
        if bytes.len() == written.len() {
            assert_eq!(written, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_breaks_no_law_of_sled() {
        guestbook_fuzz_corpus::replay("sled", super::sled);
    }
}
