//! The pieces of a WordPiece vocabulary and the search for the longest one that a text begins with.
//!
//! Own hash map, because this search is most of the time of an embedding: one pass hashes every prefix, and a
//! prefix that is no piece costs one look at one slot. Built once at start, about a millisecond for 30,522 pieces.

use std::borrow::Cow;

/// What a piece that continues a word begins with in the vocabulary file.
const CONTINUES: &str = "##";

/// The piece that stands for a word that cannot be cut.
const UNKNOWN: &str = "[UNK]";

/// Bytes of the longest piece allowed; BERT's longest has 18. Small, as the buffer of hashes is cleared for each search.
const LONGEST_PIECE: usize = 32;

/// Starting values of the hash, by [`Position`]. Any two different odd numbers would do.
const SEEDS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];

/// Why a text is not a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadVocabulary {
    /// The piece for unknown words is missing.
    #[error("the vocabulary has no [UNK]")]
    NoUnknown,
    /// A piece is too long for the search.
    #[error("line {line} of the vocabulary has more than {LONGEST_PIECE} bytes")]
    TooLong {
        /// From 1.
        line: usize,
    },
}

/// Where in a word a piece may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// At its beginning.
    First,
    /// After another piece: written with `##` in the file.
    Later,
}

/// A vocabulary, ready for searching.
pub struct Vocabulary {
    /// The file; each piece is a range of it.
    text: Cow<'static, str>,
    /// By id.
    pieces: Vec<Piece>,
    /// Open addressing with linear probing, at most half full, so that a miss ends soon. The size is a power of 2.
    slots: Vec<HashSlot>,
    unknown: u32,
    /// Bytes of the longest piece: nothing longer needs to be looked up.
    longest: usize,
}

/// Where a piece stands in the file, without its `##`.
#[derive(Clone, Copy)]
struct Piece {
    start: u32,
    length: u16,
    position: Position,
}

#[derive(Clone, Copy)]
struct HashSlot {
    /// The upper half of the hash: spares nearly every comparison of text that would fail.
    tag: u32,
    /// [`FREE`] if nothing is here.
    id: u32,
}

const FREE: u32 = u32::MAX;

impl Vocabulary {
    /// From a file with one piece a line; the line number, from 0, is the id.
    ///
    /// # Errors
    /// [`BadVocabulary`] if there is no `[UNK]` or a piece is longer than 32 bytes.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Result<Self, BadVocabulary> {
        let text = text.into();
        let pieces = pieces(&text)?;
        let longest = pieces.iter().map(|piece| usize::from(piece.length)).max();
        let empty = HashSlot { tag: 0, id: FREE };
        let mut made = Self {
            text,
            slots: vec![empty; (pieces.len() * 2).next_power_of_two()],
            pieces,
            unknown: FREE,
            longest: longest.unwrap_or_default(),
        };
        for id in 0..made.pieces.len() {
            made.insert(id);
        }
        made.unknown = made.id(UNKNOWN).ok_or(BadVocabulary::NoUnknown)?;
        Ok(made)
    }

    /// The id of a piece that begins a word, `[CLS]` and its like among them.
    pub fn id(&self, piece: &str) -> Option<u32> {
        let (id, length) = self.longest_prefix(piece.as_bytes(), Position::First)?;
        (length == piece.len()).then_some(id)
    }

    /// How many pieces there are; every id is below this.
    pub fn count(&self) -> usize {
        self.pieces.len()
    }

    /// The id of `[UNK]`.
    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    /// The id of the longest piece that `rest` begins with, and how many bytes it has; `None` if there is none.
    ///
    /// `rest` is UTF-8. A prefix that ends within a character matches nothing, because every piece is whole.
    pub fn longest_prefix(&self, rest: &[u8], position: Position) -> Option<(u32, usize)> {
        let reach = &rest[..rest.len().min(self.longest)];
        let mut hashes = [0; LONGEST_PIECE];
        let mut hash = SEEDS[position as usize];
        for (place, &byte) in hashes.iter_mut().zip(reach) {
            hash = step(hash, byte);
            *place = hash;
        }
        (1..=reach.len()).rev().find_map(|length| {
            let id = self.find(hashes[length - 1], &reach[..length], position)?;
            Some((id, length))
        })
    }

    fn find(&self, hash: u64, bytes: &[u8], position: Position) -> Option<u32> {
        let (mut at, tag) = self.home(hash);
        loop {
            let slot = self.slots[at];
            if slot.id == FREE {
                return None;
            }
            if slot.tag == tag {
                let piece = self.pieces[slot.id as usize];
                if piece.position == position && self.bytes(piece) == bytes {
                    return Some(slot.id);
                }
            }
            at = self.after(at);
        }
    }

    fn insert(&mut self, id: usize) {
        let piece = self.pieces[id];
        let seed = SEEDS[piece.position as usize];
        let hash = self.bytes(piece).iter().fold(seed, |h, &b| step(h, b));
        let (mut at, tag) = self.home(hash);
        while self.slots[at].id != FREE {
            at = self.after(at);
        }
        let id = id as u32; // `pieces` refuses files whose offsets, hence line numbers, exceed 32 bits
        self.slots[at] = HashSlot { tag, id };
    }

    /// The slot where the search for a hash begins, and its tag.
    fn home(&self, hash: u64) -> (usize, u32) {
        let tag = (hash >> 32) as u32;
        ((tag ^ hash as u32) as usize & (self.slots.len() - 1), tag)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    fn bytes(&self, piece: Piece) -> &[u8] {
        let start = piece.start as usize;
        &self.text.as_bytes()[start..start + usize::from(piece.length)]
    }
}

/// One byte more into a hash (FNV-1a): each prefix costs one multiplication on top of the one before.
fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

fn pieces(text: &str) -> Result<Vec<Piece>, BadVocabulary> {
    let mut start = 0;
    let mut pieces = Vec::with_capacity(32_768);
    for (index, line) in text.split_terminator('\n').enumerate() {
        let (position, piece) = match line.strip_prefix(CONTINUES) {
            Some(piece) if !piece.is_empty() => (Position::Later, piece),
            _ => (Position::First, line),
        };
        let place = u32::try_from(start + line.len() - piece.len());
        let (Ok(start_of_piece), true) = (place, piece.len() <= LONGEST_PIECE) else {
            return Err(BadVocabulary::TooLong { line: index + 1 });
        };
        pieces.push(Piece {
            start: start_of_piece,
            length: piece.len() as u16,
            position,
        });
        start += line.len() + 1;
    }
    Ok(pieces)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;

    const SMALL: &str = "[UNK]\na\nab\nabcd\n##b\n##\né";

    #[test]
    fn the_longest_piece_wins_and_positions_are_apart() {
        let vocabulary = Vocabulary::new(SMALL).unwrap();
        let find = |text: &str, position| vocabulary.longest_prefix(text.as_bytes(), position);
        assert_eq!(find("abc", Position::First), Some((2, 2)));
        assert_eq!(find("abcde", Position::First), Some((3, 4)));
        assert_eq!(find("b", Position::First), None);
        assert_eq!(find("bb", Position::Later), Some((4, 1)));
        assert_eq!(find("##", Position::First), Some((5, 2)));
        assert_eq!(find("éa", Position::First), Some((6, 2)));
        assert_eq!(find("è", Position::First), None); // shares its first byte with é
        assert_eq!(find("", Position::First), None);
        assert_eq!((vocabulary.count(), vocabulary.unknown()), (7, 0));
    }

    #[test]
    fn what_is_no_vocabulary_is_refused() {
        let reason = |text| Vocabulary::new(text).err();
        assert_eq!(reason(""), Some(BadVocabulary::NoUnknown));
        assert_eq!(reason("a\n[UNK"), Some(BadVocabulary::NoUnknown));
        let long: &'static str = "x".repeat(33).leak();
        assert_eq!(reason(long), Some(BadVocabulary::TooLong { line: 1 }));
    }
}
