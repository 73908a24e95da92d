//! The words of a text, for a search that takes them literally: ids, names, codes, which have no meaning that a model knows.
//!
//! What a word is says Unicode (UAX #29), so an ideograph is one, and `can't` and `foo.bar` are; the parts of such a word,
//! here `foo` and `bar`, are words as well. Case, width and the way an accent is written do not matter; the accent does.
//! Pure, so every database finds the same messages: one that can narrow down does, and this decides.

use super::{InvalidField, SearchText};
use std::borrow::Cow;
use std::collections::BTreeSet;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// The words that are looked for; at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Words {
    /// Each once, in order.
    words: Box<[Box<str>]>,
    /// See [`Words::in_ascii`].
    ascii: Option<Box<str>>,
}

impl Words {
    /// The words of a text, each once; `field` is the name the client used for it.
    ///
    /// # Errors
    /// When there is none: signs and emoji are no words.
    pub fn of(field: &str, text: &SearchText) -> Result<Self, InvalidField> {
        let mut folded = String::new();
        let words = text.as_str().unicode_words().map(|word| {
            fold(word, &mut folded);
            folded.as_str().into()
        });
        let words: BTreeSet<Box<str>> = words.collect();
        if words.is_empty() {
            let rule = "holds no word, that is letters or digits; mode=text looks for words";
            return Err(InvalidField::new(field, rule));
        }
        let is_ascii = words.iter().all(|word| word.is_ascii());
        let longest = words.iter().max_by_key(|word| word.len());
        Ok(Self {
            ascii: longest.filter(|_| is_ascii).cloned(),
            words: words.into_iter().collect(),
        })
    }

    /// Whether a message has every word.
    pub fn are_all_in(&self, content: &str) -> bool {
        self.may_be_in(content) && self.are_found_in(content)
    }

    /// What most messages can be told by, without looking for their words.
    fn may_be_in(&self, content: &str) -> bool {
        let has = |word: &str| {
            let mut places = content.as_bytes().windows(word.len());
            places.any(|place| place.eq_ignore_ascii_case(word.as_bytes()))
        };
        !content.is_ascii() || self.in_ascii().is_some_and(has)
    }

    fn are_found_in(&self, content: &str) -> bool {
        let mut found = vec![false; self.words.len()];
        let mut missing = self.words.len();
        let mut folded = String::new();
        for word in content.unicode_words() {
            fold(word, &mut folded);
            let whole = [folded.as_str()].into_iter();
            for word in whole.chain(parts(&folded)) {
                let place = self.words.binary_search_by(|sought| (**sought).cmp(word));
                if let Ok(place) = place
                    && !std::mem::replace(&mut found[place], true)
                {
                    missing -= 1;
                }
            }
            if missing == 0 {
                return true;
            }
        }
        false
    }

    /// A text that stands, in small letters, in every message of nothing but ASCII that has all words; the longest such.
    /// `None` where no such message can have them, because a word has a character beyond ASCII.
    ///
    /// It is for a database, to leave out most of what cannot be a hit.
    pub fn in_ascii(&self) -> Option<&str> {
        self.ascii.as_deref()
    }

    /// What an index made of [`indexed`] is asked for: every message that has all words has all of these. The longest, which
    /// are the rarest; at least one, and 16 at most.
    pub fn parts(&self) -> Vec<&str> {
        let all: BTreeSet<&str> = self.words.iter().flat_map(|word| parts(word)).collect();
        let mut all: Vec<&str> = all.into_iter().collect();
        all.sort_by_key(|part| std::cmp::Reverse(part.len()));
        all.truncate(MOST_PARTS);
        all
    }
}

/// An index is asked for this many parts at most; the words decide in the end, so more would find nothing else.
const MOST_PARTS: usize = 16;

/// The words of a message for an index, in parts, as they are compared, with spaces between them. Of nothing but ASCII they
/// stand there already, between signs and in either case: an index has to take both for what they are.
pub fn indexed(content: &str) -> Cow<'_, str> {
    if content.is_ascii() {
        return Cow::Borrowed(content);
    }
    let (mut all, mut folded) = (String::with_capacity(content.len()), String::new());
    for word in content.unicode_words() {
        fold(word, &mut folded);
        for part in parts(&folded) {
            all.push_str(part);
            all.push(' ');
        }
    }
    Cow::Owned(all)
}

/// The parts of a word that are words as well; the word itself where it has only one.
fn parts(folded: &str) -> impl Iterator<Item = &str> {
    let parts = folded.split(|c: char| !c.is_alphanumeric() && !is_mark(c));
    parts.filter(|part| !part.is_empty())
}

/// Writes a word as all its spellings are written: compatibility forms composed, and neither of its cases. By way of the
/// capitals, so that `ß` is `ss` and both small sigmas are one.
fn fold(word: &str, folded: &mut String) {
    folded.clear();
    if word.is_ascii() {
        folded.push_str(word);
        folded.make_ascii_lowercase();
        return;
    }
    let without_case = word
        .nfkc()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase);
    folded.extend(without_case.nfkc());
}

/// A mark that belongs to the letter before it, also where there is no composed form of both.
fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Words {
        Words::of("q", &SearchText::parse("q", text).unwrap()).unwrap()
    }

    #[test]
    fn every_word_must_be_there_in_any_order() {
        let sought = words("Order 17");
        assert!(sought.are_all_in("is 17 the order?"));
        assert!(sought.are_all_in("order-17"));
        assert!(!sought.are_all_in("order 171"));
        assert!(!sought.are_all_in("the order"));
        assert!(!sought.are_all_in(""));
    }

    #[test]
    fn a_part_of_a_word_is_found_and_the_whole_is_not_its_parts() {
        assert!(words("bar").are_all_in("see foo.bar"));
        assert!(words("homme").are_all_in("l'homme"));
        assert!(words("user_id").are_all_in("set user_id=7"));
        assert!(!words("user_id").are_all_in("the user has an id"));
        assert!(!words("ba").are_all_in("see foo.bar"));
    }

    #[test]
    fn case_width_and_the_way_of_writing_do_not_matter() {
        let same = [
            ("straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
            ("caf\u{e9}", "CAFE\u{301}"),
            ("ｏｒｄｅｒ", "order"),
            ("ﬁne", "FINE"),
        ];
        for (one, other) in same {
            assert!(words(one).are_all_in(other), "{one} in {other}");
            assert!(words(other).are_all_in(one), "{other} in {one}");
        }
        assert!(!words("cafe").are_all_in("café"));
    }

    #[test]
    fn scripts_without_spaces_are_found_by_their_characters() {
        assert!(words("日本").are_all_in("私は日本人です"));
        assert!(!words("中国").are_all_in("私は日本人です"));
        assert!(words("привет").are_all_in("Привет, мир"));
    }

    #[test]
    fn signs_alone_are_no_words() {
        for none in ["?!", "🎉", "+ - *"] {
            let text = SearchText::parse("q", none).unwrap();
            assert_eq!(Words::of("q", &text).unwrap_err().field, "q", "{none}");
        }
    }

    proptest! {
        #[test]
        fn a_message_has_its_own_words(message in "\\PC{1,60}") {
            let text = SearchText::parse("q", &message);
            if let Some(sought) = text.ok().and_then(|text| Words::of("q", &text).ok()) {
                prop_assert!(sought.are_all_in(&message));
            }
        }

        /// What an index does not propose is no hit.
        #[test]
        fn a_hit_has_every_part_in_the_index(
            sought in "[a-cK\u{212a}ſßσςΣé日本かカﾊﾞ\u{301}' ._·²™\u{200d}]{1,5}",
            message in "[a-cA-CKkSs\u{212a}ſßσςΣéÉ日本かカﾊﾞ\u{301}' ._·²™\u{200d}]{0,14}",
        ) {
            let text = SearchText::parse("q", &sought);
            if let Some(sought) = text.ok().and_then(|text| Words::of("q", &text).ok()) {
                let small = indexed(&message).to_ascii_lowercase();
                let split = small.split(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric());
                let indexed: BTreeSet<&str> = split.collect();
                let is_proposed = sought.parts().iter().all(|part| indexed.contains(part));
                prop_assert!(!sought.are_all_in(&message) || is_proposed, "{:?} in {:?}", sought.parts(), indexed);
            }
        }

        /// What a database leaves out by it is no hit.
        #[test]
        fn what_is_narrowed_away_is_no_hit(sought in "[a-cK\u{212a}ſß' ._]{1,4}", message in "[a-cA-CKkSs' ._]{0,12}") {
            let text = SearchText::parse("q", &sought);
            if let Some(sought) = text.ok().and_then(|text| Words::of("q", &text).ok()) {
                let small = message.to_ascii_lowercase();
                let is_narrowed = sought.in_ascii().is_none_or(|word| !small.contains(word));
                prop_assert_eq!(is_narrowed, !sought.may_be_in(&message));
                prop_assert!(!is_narrowed || !sought.are_found_in(&message));
            }
        }
    }
}
