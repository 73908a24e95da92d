//! The hash chain: each conversation's head is a SHA-256 over everything it ever said, so that a lost, changed or
//! reordered message shows.

use super::{ConversationId, Role, Timestamp};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A SHA-256, shown as 64 lower-case hex digits.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads the 64 hex digits a table holds; anything else is none.
    pub fn from_hex(text: &str) -> Option<Self> {
        let nibble = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (slot, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *slot = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// The 64 hex digits.
    pub fn to_hex(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.to_hex())
    }
}

/// `message_hash`: the SHA-256 of the text.
pub fn content_hash(text: &str) -> Digest {
    Digest(Sha256::digest(text.as_bytes()).into())
}

/// The head of a conversation that has no message yet; it differs from conversation to conversation, so that messages
/// cannot be moved between two of them unseen.
pub fn chain_start(conversation: ConversationId) -> Digest {
    Digest(Sha256::digest(conversation.0.as_bytes()).into())
}

/// The head after one more message. The fields are fixed-width or length-free by order, so no two inputs collide by
/// concatenation: previous head (32 bytes), sequence (8, big-endian), role (1), content hash (32), `sent_at` in ms (8).
pub fn chain_link(
    head: Digest,
    sequence: u64,
    role: Role,
    content: Digest,
    sent_at: Timestamp,
) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(head.0);
    hasher.update(sequence.to_be_bytes());
    hasher.update([role.code()]);
    hasher.update(content.0);
    hasher.update(sent_at.ms().to_be_bytes());
    Digest(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn hex_reads_back_and_refuses_the_rest() {
        let digest = content_hash("Test");
        assert_eq!(
            digest.to_hex(),
            "532eaabd9574880dbf76b9b8cc00832c20a6ec113d682299550d7a6e0f345e25"
        );
        assert_eq!(Digest::from_hex(&digest.to_hex()), Some(digest));
        assert_eq!(Digest::from_hex("532E"), None);
        assert_eq!(Digest::from_hex(&"é".repeat(32)), None);
    }

    #[test]
    fn every_field_of_a_link_changes_the_head() {
        let start = chain_start(ConversationId(Uuid::nil()));
        let (text, at) = (content_hash("a"), Timestamp::from_ms(1));
        let link = chain_link(start, 0, Role::User, text, at);
        let others = [
            chain_link(
                chain_start(ConversationId(Uuid::max())),
                0,
                Role::User,
                text,
                at,
            ),
            chain_link(start, 1, Role::User, text, at),
            chain_link(start, 0, Role::Tool, text, at),
            chain_link(start, 0, Role::User, content_hash("b"), at),
            chain_link(start, 0, Role::User, text, Timestamp::from_ms(2)),
        ];
        assert!(others.iter().all(|other| *other != link));
    }
}
