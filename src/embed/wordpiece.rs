//! Cuts text into the word pieces of BERT's uncased vocabulary.
//!
//! Own code, because the table behind it is so fast that the usual tokenizer crate (76 dependencies) would take
//! 94 % of the time. The steps and their order are those of the reference, Hugging Face `tokenizers` with
//! BertNormalizer, BertPreTokenizer and WordPiece: clean, set CJK characters apart, strip accents, lower-case, split at
//! white space and punctuation, longest piece first. tests/data/wordpiece.json holds the reference's answers.
//!
//! Two differences on purpose. `[MASK]` and its like in a message are plain text: a guest cannot write control
//! tokens. And there is no padding: a padded row in the mean would make all messages alike.
//!
//! Nothing is allocated while cutting: the current word lives in a fixed buffer.

use std::borrow::Cow;

use unicode_normalization::char::decompose_canonical;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use super::vocabulary::{BadVocabulary, Position, Vocabulary};

/// The reference takes a longer word as unknown. In characters, after accents are stripped.
const LONGEST_WORD: usize = 100;

/// Bytes of the longest word: a character is at most 4 bytes of UTF-8.
const WORD_BYTES: usize = 4 * LONGEST_WORD;

/// A tokenizer over one vocabulary.
pub struct WordPiece {
    vocabulary: Vocabulary,
}

impl WordPiece {
    /// From a vocabulary file, one piece a line; see [`Vocabulary::new`].
    ///
    /// # Errors
    /// [`BadVocabulary`].
    pub fn new(vocabulary: impl Into<Cow<'static, str>>) -> Result<Self, BadVocabulary> {
        let vocabulary = Vocabulary::new(vocabulary)?;
        Ok(Self { vocabulary })
    }

    /// How many pieces there are; every id is below this.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.count()
    }

    /// The vocabulary that it cuts by.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Hands the id of each piece of `text`, in order, to `emit`; a word that cannot be cut gives that of `[UNK]`.
    pub fn tokenize(&self, text: &str, mut emit: impl FnMut(u32)) {
        let mut word = CleanWord::new();
        for c in text.chars() {
            // ASCII is the common case: decided without the Unicode tables.
            match c {
                'a'..='z' | '0'..='9' => word.push(c),
                'A'..='Z' => word.push(c.to_ascii_lowercase()),
                ' ' | '\t' | '\n' | '\r' => self.cut(&mut word, &mut emit),
                '\0'..='\x1f' | '\x7f' => {}
                '!'..='~' => self.cut_alone(&mut word, c, &mut emit),
                _ => self.take(c, &mut word, &mut emit),
            }
        }
        self.cut(&mut word, &mut emit);
    }

    /// A character beyond ASCII.
    fn take(&self, c: char, word: &mut CleanWord, emit: &mut impl FnMut(u32)) {
        if is_dropped(c) {
            return;
        }
        if c.is_whitespace() {
            return self.cut(word, emit);
        }
        // Asked before the decomposition, as the reference does: compatibility ideographs stand alone too.
        let apart = is_cjk(c);
        if apart {
            self.cut(word, emit);
        }
        decompose_canonical(c, |part| {
            if is_accent(part) {
                return;
            }
            for lower in part.to_lowercase() {
                if is_punctuation(lower) {
                    self.cut_alone(word, lower, emit);
                } else {
                    word.push(lower);
                }
            }
        });
        if apart {
            self.cut(word, emit);
        }
    }

    /// Ends the word before `c`, then cuts `c` as a word of its own.
    fn cut_alone(&self, word: &mut CleanWord, c: char, emit: &mut impl FnMut(u32)) {
        self.cut(word, emit);
        word.push(c);
        self.cut(word, emit);
    }

    /// Emits the pieces of the word, if there is one, and begins the next.
    fn cut(&self, word: &mut CleanWord, emit: &mut impl FnMut(u32)) {
        if word.characters == 0 {
            return;
        }
        match self.match_pieces(word) {
            Some(count) => word.ids[..count].iter().for_each(|&id| emit(id)),
            None => emit(self.vocabulary.unknown()),
        }
        word.clear();
    }

    /// Finds the ids of the word's pieces and returns how many; `None` if some part of it is no piece.
    fn match_pieces(&self, word: &mut CleanWord) -> Option<usize> {
        if word.characters > LONGEST_WORD {
            return None;
        }
        let mut rest = &word.buffer[..word.length];
        let mut position = Position::First;
        let mut count = 0;
        while !rest.is_empty() {
            let (id, length) = self.vocabulary.longest_prefix(rest, position)?;
            word.ids[count] = id; // a piece has at least one character, so there are at most LONGEST_WORD
            count += 1;
            rest = &rest[length..];
            position = Position::Later;
        }
        Some(count)
    }
}

/// The word being read, cleaned and lower-case.
struct CleanWord {
    buffer: [u8; WORD_BYTES],
    /// Bytes in use.
    length: usize,
    /// Characters read; above [`LONGEST_WORD`] the buffer is no longer filled.
    characters: usize,
    /// Its pieces so far: a word is known as a whole or not at all, so they wait here until its end is reached.
    ids: [u32; LONGEST_WORD],
}

impl CleanWord {
    fn new() -> Self {
        Self {
            buffer: [0; WORD_BYTES],
            length: 0,
            characters: 0,
            ids: [0; LONGEST_WORD],
        }
    }

    fn clear(&mut self) {
        self.length = 0;
        self.characters = 0;
    }

    fn push(&mut self, c: char) {
        self.characters += 1;
        if self.characters <= LONGEST_WORD {
            self.length += c.encode_utf8(&mut self.buffer[self.length..]).len();
        }
    }
}

/// Control, format and private characters and the mark of broken text. Unassigned code points stay, as in
/// the reference: dropping them too would give other ids.
fn is_dropped(c: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse};
    c == char::REPLACEMENT_CHARACTER
        || matches!(c.general_category(), Control | Format | PrivateUse)
}

/// What stripping accents strips, once a character is decomposed.
fn is_accent(c: char) -> bool {
    !c.is_ascii() && c.general_category() == GeneralCategory::NonspacingMark
}

fn is_punctuation(c: char) -> bool {
    use GeneralCategory as G;
    if c.is_ascii() {
        return c.is_ascii_punctuation();
    }
    matches!(
        c.general_category(),
        G::ConnectorPunctuation
            | G::DashPunctuation
            | G::OpenPunctuation
            | G::ClosePunctuation
            | G::InitialPunctuation
            | G::FinalPunctuation
            | G::OtherPunctuation
    )
}

/// The ideographs that are words of their own. The blocks are the reference's, with its gap at U+2B820..=U+2B91F.
fn is_cjk(c: char) -> bool {
    matches!(
        c,
        '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{2a6df}'
            | '\u{2a700}'..='\u{2b81f}'
            | '\u{2b920}'..='\u{2ceaf}'
            | '\u{2f800}'..='\u{2fa1f}'
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;

    /// The pieces themselves, joined: easier to read than ids.
    fn cut(text: &str) -> String {
        const PIECES: &str = "[UNK]\nhi\nun\n##aff\n##able\nel\nolé\nole\n!\n日\n本\n=\n[\n]";
        let wordpiece = WordPiece::new(PIECES).unwrap();
        let names: Vec<_> = PIECES.lines().collect();
        let mut pieces = Vec::new();
        wordpiece.tokenize(text, |id| pieces.push(names[id as usize]));
        pieces.join(" ")
    }

    #[test]
    fn words_are_cut_into_the_longest_pieces() {
        assert_eq!(cut("unaffable"), "un ##aff ##able");
        assert_eq!(cut("hi!hi"), "hi ! hi");
        assert_eq!(cut("unx hi"), "[UNK] hi"); // all of a word or nothing of it
        assert_eq!(cut(" \t\r\n\u{a0}\u{3000} "), "");
    }

    #[test]
    fn case_accents_and_invisible_characters_do_not_matter() {
        assert_eq!(cut("HI Ole\u{301} OLÉ"), "hi ole ole");
        assert_eq!(cut("h\u{0}\u{200b}\u{fffd}\u{e000}i"), "hi");
        assert_eq!(cut("h\u{378}i"), "[UNK]"); // unassigned: stays
        assert_eq!(cut("h\u{b}i"), "hi"); // a vertical tab is a control character, not a space
    }

    #[test]
    fn ideographs_and_punctuation_stand_alone() {
        assert_eq!(cut("日本hi日"), "日 本 hi 日");
        assert_eq!(cut("hi≠hi"), "hi = hi"); // decomposes into = and a mark
        assert_eq!(cut("[UNK]"), "[ [UNK] ]"); // plain text, not a control token: `unk` is unknown
    }

    #[test]
    fn a_word_of_more_than_a_hundred_characters_is_unknown() {
        let long = |count| format!("un{}", "aff".repeat(count));
        assert_eq!(cut(&long(32)).split(' ').count(), 33); // 98 characters
        assert_eq!(cut(&long(33)), "[UNK]"); // 101 characters
        assert_eq!(cut(&"\u{1f600}".repeat(100_000)), "[UNK]");
    }
}
