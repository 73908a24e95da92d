//! Whether two prompts that a model finds close ask the same.
//!
//! A model cannot tell: to most of them `cancel my order` and `don't cancel my order` are closer than many a paraphrase, and two
//! prompts of the same words in another order are one. So everything that can turn a meaning must be the same in both:
//! numbers, negations, names, whose, when, which direction, the kind of question, the order of the words, and every sign and capital
//! within a sentence. What is left to differ is politeness, the capital and the mark of a sentence, a few empty words and turns of
//! phrase; and of these only the first two where a prompt holds more than prose, such as code. A false hit is worse than a miss.

use super::words::{ContentWord, PromptAnalysis, QuestionKind, WordRelation};

/// A longer prompt is found by its very words only: one vector says too little of it.
pub const MOST_WORDS: usize = 64;

/// Whether two prompts ask the same, word by word. Texts that are not in Latin script never do: no rule here knows them.
pub fn same_question(one: &str, other: &str) -> bool {
    let is_readable = |text: &str| {
        text.split_whitespace().nth(MOST_WORDS).is_none()
            && text.chars().all(|c| is_latin(c) || !c.is_alphabetic())
    };
    if !is_readable(one) || !is_readable(other) {
        return false;
    }
    let (one, other) = (PromptAnalysis::of(one), PromptAnalysis::of(other));
    if one.formal.is_some() || other.formal.is_some() {
        return is_the_same(&one, &other);
    }
    let is_open = one.is_open() || other.is_open();
    let words = one.words(is_open);
    !words.is_empty() && asks_alike(&one, &other) && says_alike(&words, &other.words(is_open))
}

/// More than prose: each word and sign counts, and where it stands.
fn is_the_same(one: &PromptAnalysis, other: &PromptAnalysis) -> bool {
    let has_word = |tokens: &[String]| {
        tokens
            .iter()
            .any(|token| token.chars().all(char::is_alphanumeric))
    };
    let is_asked = !matches!(one.question, QuestionKind::None);
    one.formal == other.formal
        && one.formal.as_deref().is_some_and(has_word)
        && (is_asked || one.is_marked == other.is_marked)
}

/// ASCII, and the letters with accents of the Latin blocks.
fn is_latin(c: char) -> bool {
    c.is_ascii() || ('\u{c0}'..='\u{24f}').contains(&c) || ('\u{1e00}'..='\u{1eff}').contains(&c)
}

fn asks_alike(one: &PromptAnalysis, other: &PromptAnalysis) -> bool {
    match (&one.question, &other.question) {
        // `The payment went through` says what `the payment went through?` asks.
        (QuestionKind::None, QuestionKind::None) => one.is_marked == other.is_marked,
        // `The capital of France` asks what it is.
        (QuestionKind::None, QuestionKind::Open("what"))
        | (QuestionKind::Open("what"), QuestionKind::None) => true,
        (one, other) => one == other,
    }
}

/// The same words in the same order, but for one compound that is told both ways: `refund policy`, `policy on refunds`.
fn says_alike(one: &[ContentWord], other: &[ContentWord]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let is_same = |at: usize| one[at].text == other[at].text;
    let mut differing = (0..one.len()).filter(|at| !is_same(*at));
    let Some(first) = differing.next() else {
        return true;
    };
    let Some(second) = differing.next() else {
        return false;
    };
    let is_swapped = one[first].text == other[second].text && one[second].text == other[first].text;
    let joints = (one[second].joint, other[second].joint);
    let is_compound = matches!(
        joints,
        (WordRelation::Neighbours, WordRelation::Linked)
            | (WordRelation::Linked, WordRelation::Neighbours)
    );
    second == first + 1 && differing.next().is_none() && is_swapped && is_compound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_may_differ() {
        for (one, other) in [
            (
                "What's the capital of France?",
                "what is the capital of France",
            ),
            ("the capital of France", "What is the capital of France?"),
            (
                "hi, cancel my order please",
                "Could you please cancel my order",
            ),
            (
                "how many days are in a leap year",
                "number of days in a leap year",
            ),
            ("I paid for two", "I paid for 2"),
            (
                "what is your refund policy",
                "what's your policy on the refunds?",
            ),
            ("I don\u{2019}t know", "I do not know"),
            ("how do i learn it", "How do I learn it?"),
            ("Polish my shoes", "polish my shoes, please"),
            ("Hi! What is 5 + 3?", "what's 5 + 3"),
            ("could you explain ls -la?", "explain ls -la, please."),
            ("Where is it? Thanks!", "where is it"),
        ] {
            assert!(same_question(one, other), "{one} | {other}");
        }
    }

    #[test]
    fn what_turns_the_meaning_may_not() {
        for (one, other) in [
            ("cancel my order", "don't cancel my order"),
            ("cancel my order", "cancel your order"),
            ("cancel my order", "cancel my orders"),
            ("cancel my order", "should I cancel my order"),
            ("cancel my order", "how do I cancel my order"),
            ("can I cancel my order", "can you cancel my order"),
            ("turn on the light", "turn off the light"),
            ("a flight to Berlin", "a flight from Berlin"),
            ("does Tom love Anna", "does Anna love Tom"),
            ("who did Tom call", "who called Tom"),
            ("when did it open", "when will it open"),
            ("plan A price", "plan price"),
            ("plan A price", "plan C price"),
            ("what is 5 - 3", "what is 5 + 3"),
            ("what is -5", "what is 5"),
            ("how do I learn C", "how do I learn C++"),
            ("is it 3.5", "is it 35"),
            ("the payment went through", "the payment went through?"),
            ("recommend a hotel", "recommend a hotel in Berlin"),
            ("IT support", "support"),
            ("the end of the year", "year of the end"),
            ("how old is it", "how is it"),
            ("compute (2+3)*4", "compute 2+3*4"),
            ("what is 5!", "what is 5"),
            ("what is n!", "what is n"),
            ("(a and b) or c", "a and (b or c)"),
            ("a and b or c", "a b or c"),
            ("what does !x do", "what does x do"),
            ("what is x - y", "what is x y"),
            ("what is x - y", "what is x -y"),
            ("what does ls -l do", "what does ls l do"),
            ("what does ls -l do", "what does ls - l do"),
            ("when is it May", "when is it may"),
            ("how do I say it in Polish", "how do I say it in polish"),
            ("is it Polish", "is it polish"),
            ("what does a ?? b mean", "what does a b mean"),
            ("what is ??", "what is"),
            ("why??", "why"),
            ("who wrote IT", "who wrote it"),
            ("select name, age from users", "select name age from users"),
            ("what is a type I error", "what is a type error"),
            ("what is a type I error", "what is a type i error"),
            ("what is the data-base", "what is the data base"),
            ("explain \"name\"", "explain name"),
            ("explain foo()?", "explain foo()"),
            ("how do I say please", "how do I say thanks"),
            (
                "the difference of save and save!",
                "the difference of save and save",
            ),
        ] {
            assert!(!same_question(one, other), "{one} | {other}");
            assert!(!same_question(other, one), "{other} | {one}");
        }
    }

    #[test]
    fn other_scripts_long_texts_and_empty_ones_are_never_the_same() {
        for text in [
            "как сбросить пароль?",
            "パスワード",
            "the",
            "",
            "?",
            "what is ω",
        ] {
            assert!(!same_question(text, text), "{text}");
        }
        assert!(same_question("où est la gare ?", "Où est la gare?"));
        let long = "word ".repeat(MOST_WORDS);
        assert!(same_question(&long, &long));
        assert!(!same_question(
            &format!("{long} more"),
            &format!("{long} more")
        ));
    }
}
