//! The English words that the guard knows. A word with a hyphen stands for a phrase: no text gives one.

/// The words of open questions. `how many` and what means the same come out of the phrases below.
pub(super) const OPEN: [&str; 9] = [
    "who", "what", "when", "where", "why", "which", "whose", "how", "how-many",
];
/// Words that a question can begin with, and the one that stands for those alike.
pub(super) const WHETHER: [(&str, &str); 22] = [
    ("is", "is"),
    ("are", "is"),
    ("am", "is"),
    ("was", "was"),
    ("were", "was"),
    ("do", "do"),
    ("does", "do"),
    ("did", "did"),
    ("can", "can"),
    ("could", "can"),
    ("may", "can"),
    ("should", "should"),
    ("shall", "should"),
    ("must", "must"),
    ("will", "will"),
    ("would", "would"),
    ("has", "has"),
    ("have", "has"),
    ("had", "had"),
    ("might", "might"),
    ("need", "need"),
    ("ought", "should"),
];
/// Words that say nothing by themselves. Kept short: what is not here must be the same in both prompts. So tense (`did`,
/// `will`), obligation (`should`), number (`all`, `two`), direction (`from`, `off`, `before`) and whose (`my`, `your`) all count.
pub(super) const EMPTY: [&str; 22] = [
    "the", "a", "an", "is", "are", "am", "be", "do", "does", "can", "could", "i", "you", "we",
    "of", "in", "on", "at", "to", "for", "about", "and",
];
/// Words that join the two parts of a compound: `policy on refunds`.
pub(super) const LINKS: [&str; 4] = ["of", "on", "for", "about"];
/// They say nothing between a link and its word.
pub(super) const ARTICLES: [&str; 3] = ["the", "a", "an"];
/// Politeness at the beginning or the end.
pub(super) const POLITE: [&str; 8] = [
    "please",
    "hi",
    "hello",
    "hey",
    "thanks",
    "thank-you",
    "tell-me",
    "can-you",
];
/// After them a polite word is meant as a word.
pub(super) const SAYING: [&str; 10] = [
    "say",
    "write",
    "spell",
    "mean",
    "means",
    "translate",
    "word",
    "type",
    "print",
    "echo",
];
/// All of them turn a meaning round, and count as `not`.
pub(super) const NEGATIONS: [&str; 9] = [
    "not", "no", "never", "without", "cannot", "none", "nobody", "nothing", "neither",
];
/// Each by its place.
pub(super) const NUMBERS: [&str; 13] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
];
/// Words that mean the same wherever they stand in a question.
pub(super) const SYNONYMS: [(&str, &str); 12] = [
    ("find", "see"),
    ("view", "see"),
    ("author", "write"),
    ("wrote", "write"),
    ("purchase", "buy"),
    ("begin", "start"),
    ("telephone", "phone"),
    ("film", "movie"),
    ("picture", "photo"),
    ("email", "mail"),
    ("quick", "fast"),
    ("big", "large"),
];
/// Turns of phrase, longest first, and the words they stand for.
pub(super) const PHRASES: [(&[&str], &[&str]); 25] = [
    (&["what", "are", "the", "steps", "to"], &["how"]),
    (&["what", "is", "the", "way", "to"], &["how"]),
    (&["how", "do", "i", "do", "that"], &["how"]),
    (&["how", "do", "i", "do", "this"], &["how"]),
    (&["how", "do", "i", "do", "it"], &["how"]),
    (&["who", "is", "the", "author", "of"], &["who", "write"]),
    (&["can", "you", "tell", "me"], &["tell-me"]),
    (&["could", "you", "tell", "me"], &["tell-me"]),
    (&["can", "you", "please"], &["can-you"]),
    (&["could", "you", "please"], &["can-you"]),
    (&["would", "you", "please"], &["can-you"]),
    (&["what", "is", "the", "number"], &["how-many"]),
    (&["number", "of"], &["how-many"]),
    (&["can", "you"], &["can-you"]),
    (&["could", "you"], &["can-you"]),
    (&["would", "you"], &["can-you"]),
    (&["tell", "me"], &["tell-me"]),
    (&["thank", "you"], &["thank-you"]),
    (&["how", "many"], &["how-many"]),
    (&["what", "time"], &["when"]),
    (&["can", "not"], &["cannot"]),
    (&["is", "there"], &["is"]),
    (&["are", "there"], &["are"]),
    (&["what", "are"], &["what"]),
    (&["what", "is"], &["what"]),
];
