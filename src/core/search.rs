//! What a search asks, and what it finds. Every search speaks in these types: within a guest, over a user's
//! conversations, and over everything.
//!
//! The order of hits is the same everywhere, so that two stores, or a scan and an index, answer alike: the higher score
//! first, and of equal scores the newer message ([`Place`]).

use super::{Content, ConversationId, InvalidField, Message, MessageId, Platform, Role, Timestamp};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;

/// What makes a message a hit: `mode` in the query.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum SearchMode {
    /// Its vector is near that of the text.
    #[default]
    Meaning,
    /// It has every word of the text, in any order; see [`super::Words`].
    Text,
}

impl SearchMode {
    /// Every mode there is.
    pub const ALL: [Self; 2] = [Self::Meaning, Self::Text];

    /// Reads the word of the query.
    pub fn parse(text: &str) -> Result<Self, InvalidField> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| InvalidField::new("mode", "must be one of meaning, text"))
    }

    /// The word of the query and of the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meaning => "meaning",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for SearchMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is looked for: not blank, no NUL, at most [`SearchText::MAX_BYTES`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct SearchText(Arc<str>);

impl SearchText {
    /// At most this many bytes of UTF-8: a page of text. A model makes one vector of it, and would make no better one of more.
    pub const MAX_BYTES: usize = 4096;

    /// Checks the text; `field` is the name the client used for it.
    pub fn parse(field: &str, text: &str) -> Result<Self, InvalidField> {
        let fault = |rule: String| Err(InvalidField::new(field, rule));
        if text.trim().is_empty() {
            return fault("must not be blank: the words, or the meaning, to look for".into());
        }
        if text.len() > Self::MAX_BYTES {
            let (size, limit) = (text.len(), Self::MAX_BYTES);
            return fault(format!("is {size} bytes; at most {limit} are looked for"));
        }
        if text.contains('\0') {
            return fault("must not contain NUL (U+0000)".into());
        }
        Ok(Self(text.into()))
    }

    /// The text as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many hits are wanted at most, 1 to [`Limit::MAX`]; 10 by default.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit(usize);

impl Limit {
    /// More than anybody reads; it bounds what one answer may hold.
    pub const MAX: usize = 100;

    /// Checks the number; `field` is the name the client used for it.
    pub fn new(field: &str, count: usize) -> Result<Self, InvalidField> {
        if !(1..=Self::MAX).contains(&count) {
            let rule = format!("must be 1 to {}", Self::MAX);
            return Err(InvalidField::new(field, rule));
        }
        Ok(Self(count))
    }

    /// The number.
    pub fn get(self) -> usize {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(10)
    }
}

/// How well a message answers, in `-1.0..=1.0`: the cosine of its vector with that of the text. By words it is 1: all of
/// them are there.
///
/// Scales differ from model to model, so a minimum that is right for one is wrong for another.
#[derive(Clone, Copy, Debug)]
pub struct Score(f32);

impl Score {
    /// What a message gets that has every word.
    pub const FULL: Self = Self(1.0);

    /// A score of at most 1 in size; what is beyond, by a rounding, is moved to the nearest end, and NaN is the lowest.
    pub fn new(cosine: f32) -> Self {
        match cosine.is_nan() {
            true => Self(-1.0),
            // Adding zero makes one zero of the two, so that equal scores are equal in every way.
            false => Self(cosine.clamp(-1.0, 1.0) + 0.0),
        }
    }

    /// Checks a score that a client asks for; `field` is the name it used.
    pub fn parse(field: &str, value: f64) -> Result<Self, InvalidField> {
        if !(-1.0..=1.0).contains(&value) {
            return Err(InvalidField::new(field, "must be -1 to 1"));
        }
        Ok(Self::new(value as f32))
    }

    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Which messages may be hits at all. The default lets every message through.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filters {
    /// Only messages of this role.
    pub role: Option<Role>,
    /// Only guests' messages, or only users'.
    pub platform: Option<Platform>,
    /// Only messages of this time or later, by the client's timestamp.
    pub from: Option<Timestamp>,
    /// Only messages before this time, by the client's timestamp.
    pub to: Option<Timestamp>,
    /// Only messages of this score or a higher one.
    pub minimum: Option<Score>,
}

impl Filters {
    /// Whether a message may be a hit, whatever its score.
    pub fn admits(&self, role: Role, platform: Platform, sent_at: Timestamp) -> bool {
        self.role.is_none_or(|wanted| wanted == role)
            && self.platform.is_none_or(|wanted| wanted == platform)
            && self.from.is_none_or(|from| from <= sent_at)
            && self.to.is_none_or(|to| sent_at < to)
    }

    /// Whether a score is high enough.
    pub fn reaches(&self, score: Score) -> bool {
        self.minimum.is_none_or(|minimum| minimum <= score)
    }
}

/// Where a message stands among all messages; the greater place is the newer one. Ids of conversations ascend with the
/// time they began at, sequences with the time of storing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessagePosition {
    /// The conversation.
    pub conversation: ConversationId,
    /// The place in it.
    pub sequence: u64,
}

/// A message that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The message.
    pub message: MessageId,
    /// The id under which the client sent it, where that is another one.
    pub external_id: Option<Arc<str>>,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its place in it.
    pub sequence: u64,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// The client's time.
    pub timestamp: Timestamp,
    /// How well it answers.
    pub score: Score,
}

impl Hit {
    /// A stored message of this conversation, with its score.
    pub fn new(conversation: ConversationId, message: Message, score: Score) -> Self {
        Self {
            message: message.id,
            external_id: message.external_id,
            conversation,
            sequence: message.sequence,
            role: message.role,
            content: message.content,
            timestamp: message.sent_at,
            score,
        }
    }

    /// Where it stands.
    pub fn place(&self) -> MessagePosition {
        MessagePosition {
            conversation: self.conversation,
            sequence: self.sequence,
        }
    }
}

/// What a search found, and in how much it looked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchResults {
    /// The hits, the best first.
    pub hits: Vec<Hit>,
    /// How many messages were compared: by meaning, those that have a vector of the model in use.
    pub searched: u64,
    /// How many messages there are where it looked.
    pub of: u64,
}

/// Keeps the `k` greatest of any number of things, in the memory of `k`.
///
/// For hits, `T` begins with the score and ends with what is unique: equal scores then fall to the newer message.
#[derive(Clone, Debug)]
pub struct TopK<T> {
    k: usize,
    /// The least of those kept is on top.
    kept: BinaryHeap<Reverse<T>>,
}

impl<T: Ord> TopK<T> {
    /// None yet, and at most `k` ever.
    pub fn new(k: Limit) -> Self {
        Self::of(k.get())
    }

    /// As [`Self::new`], for a number that is no client's.
    pub fn of(k: usize) -> Self {
        Self {
            k,
            kept: BinaryHeap::with_capacity(k),
        }
    }

    /// The one that has to be beaten; `None` while there is room.
    pub fn least(&self) -> Option<&T> {
        let is_full = self.kept.len() >= self.k;
        self.kept.peek().filter(|_| is_full).map(|least| &least.0)
    }

    /// Keeps `candidate` if it is among the greatest so far.
    pub fn offer(&mut self, candidate: T) {
        if self.kept.len() < self.k {
            self.kept.push(Reverse(candidate));
        } else if let Some(mut least) = self.kept.peek_mut()
            && least.0 < candidate
        {
            *least = Reverse(candidate);
        }
    }

    /// Those that were kept, the greatest first.
    pub fn into_sorted(self) -> Vec<T> {
        let ascending_by_reverse = self.kept.into_sorted_vec();
        ascending_by_reverse.into_iter().map(|it| it.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_are_held_and_the_field_is_named() {
        assert_eq!(Limit::default().get(), 10);
        for bad in [0, 101] {
            assert_eq!(Limit::new("k", bad).unwrap_err().field, "k");
        }
        let long = "é".repeat(2049);
        for bad in ["", " \n", "a\0b", &long] {
            assert_eq!(SearchText::parse("q", bad).unwrap_err().field, "q");
        }
        assert_eq!(SearchMode::parse("text"), Ok(SearchMode::Text));
        assert_eq!(SearchMode::parse("Text").unwrap_err().field, "mode");
        for bad in [1.01, f64::NAN, f64::NEG_INFINITY] {
            assert!(Score::parse("minimum_score", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scores_are_ordered_whatever_the_number() {
        assert_eq!(Score::new(1.000_1), Score::FULL);
        assert_eq!(Score::new(-0.0), Score::new(0.0));
        assert!(Score::new(f32::NAN) < Score::new(-0.9));
    }

    #[test]
    fn a_filter_takes_its_beginning_and_leaves_its_end() {
        let at = Timestamp::from_ms;
        let filters = Filters {
            role: Some(Role::User),
            platform: Some(Platform::Guest),
            from: Some(at(10)),
            to: Some(at(20)),
            minimum: Some(Score::new(0.5)),
        };
        let admits = |role, platform, ms| filters.admits(role, platform, at(ms));
        assert!(admits(Role::User, Platform::Guest, 10));
        assert!(!admits(Role::User, Platform::Guest, 9));
        assert!(!admits(Role::User, Platform::Guest, 20));
        assert!(!admits(Role::Tool, Platform::Guest, 15));
        assert!(!admits(Role::User, Platform::Authenticated, 15));
        assert!(filters.reaches(Score::new(0.5)) && !filters.reaches(Score::new(0.49)));
        assert!(Filters::default().admits(Role::Tool, Platform::Authenticated, at(-1)));
    }

    proptest! {
        #[test]
        fn the_best_are_the_head_of_the_sorted(all in prop::collection::vec((0..9_i32, 0..99_i32), 0..60), k in 1..20_usize) {
            let mut best = TopK::of(k);
            for &candidate in &all {
                let is_beaten = best.least().is_some_and(|least| *least >= candidate);
                let before = best.clone().into_sorted();
                best.offer(candidate);
                prop_assert_eq!(is_beaten, before == best.clone().into_sorted() && before.len() == k);
            }
            let mut sorted = all;
            sorted.sort_by(|a, b| b.cmp(a));
            sorted.truncate(k);
            prop_assert_eq!(best.into_sorted(), sorted);
        }
    }
}
