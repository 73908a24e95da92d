//! A prompt as the words that carry its meaning. English; in other languages nearly every word counts, which only makes fewer
//! prompts the same.

use super::lexicon::{
    ARTICLES, EMPTY, LINKS, NEGATIONS, NUMBERS, OPEN, PHRASES, POLITE, SYNONYMS, WHETHER,
};

/// What kind of answer is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Question {
    /// Nothing is asked: a request, a statement, a topic.
    None,
    /// `who`, `what`, `when`, `where`, `why`, `which`, `whose`, `how`, `how many`.
    Open(&'static str),
    /// Yes or no, by the word it begins with: `can`, `did`, `should`.
    Whether(&'static str),
}

/// A text taken apart.
#[derive(Clone, Debug)]
pub(super) struct Meaning {
    pub(super) question: Question,
    /// Whether it ends with a question mark that is more than politeness.
    pub(super) is_marked: bool,
    tokens: Vec<String>,
}

/// A word that counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Word {
    pub(super) text: String,
    /// What stands between this word and the one before it: nothing, or a word such as `of`.
    pub(super) joint: Joint,
}

/// How two words that count hang together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Joint {
    /// They are neighbours: `refund policy`.
    Neighbours,
    /// Only `of`, `on`, `for` or `about`, and articles, stand between them: `policy on refunds`.
    Linked,
    /// Anything else.
    Apart,
}

impl Meaning {
    pub(super) fn of(text: &str) -> Self {
        let text = text.replace('\u{2019}', "'");
        let mut tokens = rephrased(&tokens(&text));
        let is_request = tokens.iter().any(|token| token == "can-you");
        strip_politeness(&mut tokens);
        Self {
            question: question(&mut tokens),
            is_marked: text.trim_end().ends_with('?') && !is_request,
            tokens,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.question, Question::Open(_))
    }

    /// What must be the same, in order. Endings are cut in open questions only: to cancel an order is not to cancel all of
    /// them.
    pub(super) fn words(&self, is_open: bool) -> Vec<Word> {
        words(&self.tokens, is_open)
    }
}

/// The words of a text in lower case, without contractions, and every sign that means something.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let characters: Vec<char> = text.chars().collect();
    let is_shouted = !characters.iter().any(|c| c.is_lowercase());
    let mut at = 0;
    while at < characters.len() {
        let end = word_end(&characters, at);
        if end == at {
            if is_meant(&characters, at) {
                tokens.push(characters[at].to_string());
            }
            at += 1;
            continue;
        }
        let word: String = characters[at..end].iter().collect();
        match word.as_str() {
            // As in `plan A`: a name, and no article.
            "A" if !is_shouted && !tokens.is_empty() => tokens.push("A".into()),
            // As in `for US citizens` and `IT support`.
            "US" | "IT" if !is_shouted => tokens.push(word),
            _ => expand(&word.to_lowercase(), &mut tokens),
        }
        at = end;
    }
    tokens
}

/// Where the word that begins at `at` ends; `at` when none does. A number keeps its points: `6:40`, `3.5`.
fn word_end(characters: &[char], at: usize) -> usize {
    let is_digit = |at: usize| characters.get(at).is_some_and(char::is_ascii_digit);
    let is_part = |here: usize| match characters[here] {
        '\'' => here > at && characters.get(here + 1).is_some_and(|c| c.is_alphabetic()),
        '.' | ',' | ':' => here > at && is_digit(here - 1) && is_digit(here + 1),
        c => c.is_alphanumeric(),
    };
    let rest = (at..characters.len()).take_while(|here| is_part(*here));
    at + rest.count()
}

/// Whether a sign says more than where a phrase ends.
fn is_meant(characters: &[char], at: usize) -> bool {
    let before_digit = characters.get(at + 1).is_some_and(char::is_ascii_digit);
    match characters[at] {
        '-' | '.' => before_digit,
        ',' | ';' | ':' | '!' | '?' | '\'' | '"' | '(' | ')' | '\u{2018}' | '\u{201c}'
        | '\u{201d}' => false,
        c => !c.is_whitespace(),
    }
}

/// `don't` is `do not`, `what's` is `what is`, `Anna's` is `anna`.
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
    while tokens.last().is_some_and(is_polite) {
        tokens.pop();
    }
}

/// What is asked; the word that asks it is taken out.
fn question(tokens: &mut Vec<String>) -> Question {
    let asks = |token: &String| OPEN.iter().find(|word| **word == token.as_str());
    if let Some((at, word)) = tokens
        .iter()
        .enumerate()
        .find_map(|(at, token)| Some((at, *asks(token)?)))
    {
        tokens.remove(at);
        return Question::Open(word);
    }
    let first = tokens.first();
    let whether = WHETHER
        .iter()
        .find(|(word, _)| first.is_some_and(|token| token == word));
    match whether {
        Some((_, kind)) => {
            tokens.remove(0);
            Question::Whether(kind)
        }
        None => Question::None,
    }
}

fn words(tokens: &[String], is_open: bool) -> Vec<Word> {
    let (mut words, mut joint) = (Vec::new(), Joint::Neighbours);
    for token in tokens {
        if EMPTY.contains(&token.as_str()) {
            joint = match joint {
                _ if LINKS.contains(&token.as_str()) => Joint::Linked,
                Joint::Linked if ARTICLES.contains(&token.as_str()) => Joint::Linked,
                _ => Joint::Apart,
            };
            continue;
        }
        words.push(Word {
            text: counted(token, is_open),
            joint,
        });
        joint = Joint::Neighbours;
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
