//! A prompt as the words that carry its meaning. English; in other languages nearly every word counts, which only makes fewer
//! prompts the same.

use super::lexicon::{
    ARTICLES, EMPTY, LINKS, NEGATIONS, NUMBERS, OPEN, PHRASES, POLITE, SAYING, SYNONYMS, WHETHER,
};
use super::signs::Tokens;

/// What kind of answer is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum QuestionKind {
    /// Nothing is asked: a request, a statement, a topic.
    None,
    /// `who`, `what`, `when`, `where`, `why`, `which`, `whose`, `how`, `how many`.
    Open(&'static str),
    /// Yes or no, by the word it begins with: `can`, `did`, `should`.
    Whether(&'static str),
}

/// A text taken apart.
#[derive(Clone, Debug)]
pub(super) struct PromptAnalysis {
    pub(super) question: QuestionKind,
    /// Whether it ends with a question mark that is more than politeness.
    pub(super) is_marked: bool,
    /// Words and signs as they were written, but for politeness, if it is more than prose: then each of them counts.
    pub(super) formal: Option<Vec<String>>,
    tokens: Vec<String>,
}

/// A word that counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ContentWord {
    pub(super) text: String,
    /// What stands between this word and the one before it: nothing, or a word such as `of`.
    pub(super) joint: WordRelation,
}

/// How two words that count hang together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum WordRelation {
    /// They are neighbours: `refund policy`.
    Neighbours,
    /// Only `of`, `on`, `for` or `about`, and articles, stand between them: `policy on refunds`.
    Linked,
    /// Anything else.
    Apart,
}

impl PromptAnalysis {
    pub(super) fn of(text: &str) -> Self {
        let Tokens {
            all,
            is_formal,
            is_marked,
        } = Tokens::of(text);
        let mut tokens = rephrased(&all);
        let is_request = tokens.iter().any(|token| token == "can-you");
        strip_politeness(&mut tokens);
        let formal = is_formal.then(|| {
            let mut all = all;
            strip_request(&mut all);
            strip_politeness(&mut all);
            all
        });
        Self {
            question: question(&mut tokens),
            is_marked: is_marked && !is_request,
            formal,
            tokens,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.question, QuestionKind::Open(_))
    }

    /// What must be the same, in order. Endings are cut in open questions only: to cancel an order is not to cancel all of
    /// them.
    pub(super) fn words(&self, is_open: bool) -> Vec<ContentWord> {
        words(&self.tokens, is_open)
    }
}

/// Turns of phrase as the words they stand for.
fn rephrased(tokens: &[String]) -> Vec<String> {
    let (mut plain, mut at) = (Vec::with_capacity(tokens.len()), 0);
    while at < tokens.len() {
        let rest = &tokens[at..];
        let begins = |(phrase, _): &&(&[&str], &[&str])| {
            rest.len() >= phrase.len() && phrase.iter().zip(rest).all(|(word, token)| word == token)
        };
        match PHRASES.iter().find(begins) {
            Some((phrase, words)) => {
                plain.extend(words.iter().map(|word| (*word).to_owned()));
                at += phrase.len();
            }
            None => {
                plain.push(rest[0].clone());
                at += 1;
            }
        }
    }
    plain
}

fn strip_politeness(tokens: &mut Vec<String>) {
    let is_polite = |token: &String| POLITE.contains(&token.as_str());
    let begins = tokens.iter().take_while(|token| is_polite(token)).count();
    tokens.drain(..begins);
    while tokens.last().is_some_and(is_polite) && !is_meant(tokens) {
        tokens.pop();
    }
}

/// Turns of phrase that only ask for an answer, at the beginning.
fn strip_request(tokens: &mut Vec<String>) {
    let begins = |(phrase, words): &&(&[&str], &[&str])| {
        let is_polite = words.iter().all(|word| POLITE.contains(word));
        is_polite && tokens.len() > phrase.len() && phrase.iter().zip(&*tokens).all(|(a, b)| a == b)
    };
    if let Some((phrase, _)) = PHRASES.iter().find(begins) {
        tokens.drain(..phrase.len());
    }
}

/// Whether the last word is what the sentence is about: `how do I say please`, `the meaning of thanks`.
fn is_meant(tokens: &[String]) -> bool {
    let before = tokens.iter().rev().nth(1).map(String::as_str);
    before.is_some_and(|word| SAYING.contains(&word) || LINKS.contains(&word))
}

/// What is asked; the word that asks it is taken out.
fn question(tokens: &mut Vec<String>) -> QuestionKind {
    let asks = |token: &String| OPEN.iter().find(|word| **word == token.as_str());
    if let Some((at, word)) = tokens
        .iter()
        .enumerate()
        .find_map(|(at, token)| Some((at, *asks(token)?)))
    {
        tokens.remove(at);
        return QuestionKind::Open(word);
    }
    let first = tokens.first();
    let whether = WHETHER
        .iter()
        .find(|(word, _)| first.is_some_and(|token| token == word));
    match whether {
        Some((_, kind)) => {
            tokens.remove(0);
            QuestionKind::Whether(kind)
        }
        None => QuestionKind::None,
    }
}

fn words(tokens: &[String], is_open: bool) -> Vec<ContentWord> {
    let (mut words, mut joint) = (Vec::new(), WordRelation::Neighbours);
    for token in tokens {
        if EMPTY.contains(&token.as_str()) {
            joint = match joint {
                _ if LINKS.contains(&token.as_str()) => WordRelation::Linked,
                WordRelation::Linked if ARTICLES.contains(&token.as_str()) => WordRelation::Linked,
                _ => WordRelation::Apart,
            };
            continue;
        }
        words.push(ContentWord {
            text: counted(token, is_open),
            joint,
        });
        joint = WordRelation::Neighbours;
    }
    words
}

fn counted(token: &str, is_open: bool) -> String {
    if NEGATIONS.contains(&token) {
        return "not".into();
    }
    if let Some(number) = NUMBERS.iter().position(|word| *word == token) {
        return number.to_string();
    }
    if !is_open {
        return token.to_owned();
    }
    let one_of = |(word, like): &(&str, &'static str)| (*word == token).then_some(*like);
    stem(SYNONYMS.iter().find_map(one_of).unwrap_or(token))
}

/// Without the ending of a plural or of `-ing`. Words whose plural means something else are left alone.
fn stem(token: &str) -> String {
    const OTHERS: [&str; 10] = [
        "news", "goods", "customs", "glasses", "arms", "pants", "means", "works", "evening",
        "terms",
    ];
    let is_word = token.len() > 3 && token.bytes().all(|byte| byte.is_ascii_lowercase());
    if !is_word || OTHERS.contains(&token) {
        return token.to_owned();
    }
    let has_vowel =
        |stem: &str| stem.len() > 2 && stem.bytes().any(|byte| b"aeiouy".contains(&byte));
    if let Some(stem) = token.strip_suffix("ing").filter(|stem| has_vowel(stem)) {
        return undoubled(stem).trim_end_matches('e').to_owned();
    }
    if let Some(stem) = token.strip_suffix("ies") {
        return format!("{stem}y");
    }
    let hisses = ["ses", "xes", "zes", "ches", "shes"]
        .iter()
        .any(|end| token.ends_with(end));
    let kept = ["ss", "us", "is"].iter().any(|end| token.ends_with(end));
    let singular = match (hisses, kept) {
        (true, _) => &token[..token.len() - 2],
        (false, false) => token.strip_suffix('s').unwrap_or(token),
        (false, true) => token,
    };
    singular.trim_end_matches('e').to_owned()
}

/// `stopp` is `stop`; `fill` stays.
fn undoubled(stem: &str) -> &str {
    let bytes = stem.as_bytes();
    match bytes {
        [.., a, b] if a == b && !b"lsz".contains(b) => &stem[..stem.len() - 1],
        _ => stem,
    }
}
