//! A prompt as words and signs.
//!
//! A sign may be an operator, a bracket or a part of code, and a capital a name: `5!` and `5`, `ls -l` and `ls l`, `Polish` and
//! `polish`. Nobody can tell from the sign alone. So each counts, with the white space beside it, but for those few that stand
//! where prose has them: the mark at the end, the comma or mark beside a polite word, the comma before a question word, the
//! capital at the beginning of a sentence, and that of `I`.

use super::lexicon::{OPEN, POLITE, WHETHER};

/// The words of a text without contractions, and every sign that counts.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) all: Vec<String>,
    /// Whether it holds more than prose: a sign that counts, or a letter that stands alone.
    pub(super) is_formal: bool,
    /// Whether it ends with a question mark.
    pub(super) is_marked: bool,
}

impl Tokens {
    pub(super) fn of(text: &str) -> Self {
        let text: Vec<char> = text.replace('\u{2019}', "'").chars().collect();
        let (mut tokens, mut at) = (Self::default(), 0);
        while at < text.len() {
            let end = word_end(&text, at);
            if end > at {
                tokens.add_word(&text, at, end);
                at = end;
            } else {
                tokens.add_sign(&text, at);
                at += 1;
            }
        }
        tokens
    }

    fn add_word(&mut self, text: &[char], at: usize, end: usize) {
        let word = lowered(text, at, end);
        let is_letter = end == at + 1 && text[at].is_alphabetic();
        match word.as_str() {
            // A name of something, as in `type I error`, or the pronoun.
            "I" | "i" if !self.is_pronoun(text, at, end) => {
                self.is_formal = true;
                self.all.push(format!("name-{word}"));
            }
            "I" => self.all.push("i".into()),
            "i" | "a" => self.all.push(word),
            _ => {
                self.is_formal |= is_letter;
                let word = word
                    .strip_prefix("I'")
                    .map(|rest| format!("i'{rest}"))
                    .unwrap_or(word);
                expand(&word, &mut self.all);
            }
        }
    }

    /// `do I`, `I have`, and `I paid` where a sentence begins.
    fn is_pronoun(&self, text: &[char], at: usize, end: usize) -> bool {
        let is_helper = |word: &str| WHETHER.iter().any(|(helper, _)| *helper == word);
        let before = self.all.last().is_some_and(|word| is_helper(word));
        let next = next_word(text, end);
        before || is_helper(&next) || (begins_sentence(text, at) && next.chars().count() > 1)
    }

    fn add_sign(&mut self, text: &[char], at: usize) {
        let sign = text[at];
        if sign.is_whitespace() {
            return;
        }
        if is_prose(text, at) {
            self.is_marked |= sign == '?';
            return;
        }
        let is_blank = |at: Option<usize>| {
            let beside = at.and_then(|at| text.get(at));
            beside.is_none_or(|c| c.is_whitespace())
        };
        let blank = |is_blank| if is_blank { " " } else { "" };
        let (before, after) = (
            blank(is_blank(at.checked_sub(1))),
            blank(is_blank(Some(at + 1))),
        );
        self.all.push(format!("{before}{sign}{after}"));
        self.is_formal = true;
    }
}

/// Where the word that begins at `at` ends; `at` when none does. A number keeps its points: `6:40`, `3.5`.
fn word_end(text: &[char], at: usize) -> usize {
    let is_digit = |at: usize| text.get(at).is_some_and(char::is_ascii_digit);
    let is_part = |here: usize| match text[here] {
        '\'' => {
            let is_letter = |at: usize| text.get(at).is_some_and(|c| c.is_alphabetic());
            here > at && is_letter(here - 1) && is_letter(here + 1)
        }
        '.' | ',' | ':' => here > at && is_digit(here - 1) && is_digit(here + 1),
        c => c.is_alphanumeric(),
    };
    let rest = (at..text.len()).take_while(|here| is_part(*here));
    at + rest.count()
}

/// The word, in lower case if its only capital is that of a sentence's beginning.
fn lowered(text: &[char], at: usize, end: usize) -> String {
    let word = &text[at..end];
    let is_plain = word[1..].iter().all(|c| !c.is_uppercase());
    match is_plain && begins_sentence(text, at) {
        true => word[0]
            .to_lowercase()
            .chain(word[1..].iter().copied())
            .collect(),
        false => word.iter().collect(),
    }
}

/// Whether a sentence begins at `at`: nothing but politeness is before it, or the end of another one.
fn begins_sentence(text: &[char], at: usize) -> bool {
    let before = &text[..at];
    let blanks = before
        .iter()
        .rev()
        .take_while(|c| c.is_whitespace())
        .count();
    let is_after_end = blanks > 0
        && matches!(&before[..at - blanks], [.., last, '.' | '!' | '?'] if last.is_alphanumeric());
    is_after_end || is_polite(before)
}

/// The next word in lower case, if nothing but white space is before it.
fn next_word(text: &[char], at: usize) -> String {
    let blanks = text[at..].iter().take_while(|c| c.is_whitespace()).count();
    let begin = at + blanks;
    let word = &text[begin..word_end(text, begin)];
    word.iter().flat_map(|c| c.to_lowercase()).collect()
}

/// Whether there is nothing in it but polite words and the signs beside them.
fn is_polite(text: &[char]) -> bool {
    let text: String = text.iter().collect();
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '.' | '!'))
        .filter(|word| !word.is_empty())
        .all(|word| {
            let word = word.to_lowercase();
            POLITE.contains(&word.as_str()) || matches!(word.as_str(), "thank" | "you")
        })
}

/// Whether the sign at `at` says no more than where a sentence or a courtesy ends.
fn is_prose(text: &[char], at: usize) -> bool {
    let is_mark = |c: char| matches!(c, '.' | ',' | '!' | '?');
    let (before, after) = (&text[..at], &text[at + 1..]);
    let is_alone = !before.last().is_some_and(|c| is_mark(*c))
        && after.first().is_none_or(|c| c.is_whitespace());
    if !is_mark(text[at]) || !is_alone {
        return false;
    }
    let (ends, begins) = (is_polite(after), is_polite(before));
    match text[at] {
        '?' => ends && ends_word(before, true),
        '.' => (ends || begins) && ends_word(before, false),
        ',' if OPEN.contains(&next_word(text, at + 1).as_str()) => ends_word(before, false),
        // Beside a courtesy: elsewhere a mark at the very end may be an operator.
        _ if begins => ends_word(before, false),
        _ => ends && ends_word(before, false) && (is_polite(last_word(before)) || !is_blank(after)),
    }
}

fn is_blank(text: &[char]) -> bool {
    text.iter().all(|c| c.is_whitespace())
}

fn last_word(text: &[char]) -> &[char] {
    let length = text.iter().rev().take_while(|c| c.is_alphanumeric());
    &text[text.len() - length.count()..]
}

/// Whether a word ends here that no operator would follow: not a small letter alone, and no bracket.
fn ends_word(text: &[char], may_be_apart: bool) -> bool {
    let blanks = text.iter().rev().take_while(|c| c.is_whitespace()).count();
    let text = &text[..text.len() - blanks];
    let length = text
        .iter()
        .rev()
        .take_while(|c| c.is_alphanumeric())
        .count();
    let is_clear = text
        .last()
        .is_some_and(|c| c.is_uppercase() || c.is_ascii_digit());
    (blanks == 0 || may_be_apart) && (length > 1 || (length == 1 && is_clear))
}

/// `don't` is `do not`, `what's` is `what is`, `Anna's` is `Anna`.
fn expand(word: &str, tokens: &mut Vec<String>) {
    let mut push = |word: &str| tokens.push(word.to_owned());
    match word {
        "can't" => return push("cannot"),
        "won't" => return ["will", "not"].into_iter().for_each(push),
        "let's" => return ["let", "us"].into_iter().for_each(push),
        _ => {}
    }
    let Some((stem, ending)) = word.rsplit_once('\'') else {
        return push(word);
    };
    match (stem.strip_suffix('n'), ending) {
        (Some(stem), "t") => ["", "not"]
            .map(|it| if it.is_empty() { stem } else { it })
            .into_iter()
            .for_each(push),
        (_, "m") => [stem, "am"].into_iter().for_each(push),
        (_, "re") => [stem, "are"].into_iter().for_each(push),
        (_, "ve") => [stem, "have"].into_iter().for_each(push),
        (_, "ll") => [stem, "will"].into_iter().for_each(push),
        (_, "d") => [stem, "would"].into_iter().for_each(push),
        (_, "s") if OPEN.contains(&stem) || ["it", "that", "there"].contains(&stem) => {
            [stem, "is"].into_iter().for_each(push);
        }
        (_, "s") => push(stem),
        _ => push(word),
    }
}
