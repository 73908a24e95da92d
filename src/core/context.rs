//! What to send to a model of a long conversation: the newest messages, and the older ones that are about the question.
//!
//! Pure, so every database gives a model the same. Four laws hold, whatever is asked: the budget is never exceeded, messages
//! come in their order, an exchange is there whole or not at all, and no relevant message takes the place of a recent one.
//!
//! An **exchange** is a user's message with all that answers it: the messages of the assistant and of tools after it, up to
//! the next one of a user or the system. Any other message is an exchange of its own.

use super::{InvalidField, Role, Score};
use std::collections::BTreeMap;
use std::ops::Range;

/// How much of a conversation a model is to get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ContextBudget {
    /// Tokens at most, counted as at storing: words between white space.
    pub tokens: u64,
    /// Begin with so many of the newest messages, and a few more where they would cut an exchange; the rest of the budget is
    /// for relevant ones. `None`: as many as fit.
    pub recent: Option<u64>,
}

impl ContextBudget {
    /// The largest budget: more than any model reads.
    pub const MAX_TOKENS: u64 = 1_000_000;
    /// Messages of a context at most.
    pub const MAX_MESSAGES: u64 = 10_000;
    /// Bytes of contents in a context at most. A message may be one long word, and many such are few tokens.
    pub const MAX_BYTES: u64 = 16 << 20;
    /// The newest messages that a context with a question begins with, by default.
    pub const RECENT: u64 = 10;

    /// Checks the numbers of a client.
    pub fn new(max_tokens: u64, recent: Option<u64>) -> Result<Self, InvalidField> {
        if !(1..=Self::MAX_TOKENS).contains(&max_tokens) {
            let rule = format!("must be 1 to {}", Self::MAX_TOKENS);
            return Err(InvalidField::new("max_tokens", rule));
        }
        if recent.is_some_and(|recent| recent > Self::MAX_MESSAGES) {
            let rule = format!("must be 0 to {}", Self::MAX_MESSAGES);
            return Err(InvalidField::new("recent", rule));
        }
        Ok(Self {
            tokens: max_tokens,
            recent,
        })
    }
}

/// A message as the choice sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageSummary {
    /// Its place in the conversation.
    pub sequence: u64,
    /// Who speaks.
    pub role: Role,
    /// What it costs.
    pub tokens: u64,
    /// The length of its content, in bytes.
    pub bytes: u64,
}

/// Why a message is in a context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InclusionReason {
    /// It is one of the newest.
    Recent,
    /// Its exchange is about the question; the score is that of the best message in it.
    Relevant(Score),
}

/// A message that was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SelectedMessage {
    /// Its place in the conversation.
    pub sequence: u64,
    /// What it costs.
    pub tokens: u64,
    /// Why it is there.
    pub why: InclusionReason,
}

/// Chooses from the end of a conversation. `outline` is all of it from some message on, without gaps; where it begins inside
/// of an exchange, that one is left out. `relevant` are messages about the question, the best first.
pub fn choose(
    budget: ContextBudget,
    outline: &[MessageSummary],
    relevant: &[(u64, Score)],
) -> Vec<SelectedMessage> {
    let exchanges = exchanges(outline);
    let mut purse = TokenBudget::of(budget);
    let first_recent = recent(budget, outline, &exchanges, &mut purse);
    let newest = first_recent..exchanges.len();
    // By the index of the exchange.
    let mut chosen: BTreeMap<_, _> = newest
        .map(|index| (index, InclusionReason::Recent))
        .collect();
    for &(sequence, score) in relevant {
        if let Some(index) = holding(outline, &exchanges, sequence)
            && !chosen.contains_key(&index)
            && purse.pay(&outline[exchanges[index].clone()])
        {
            chosen.insert(index, InclusionReason::Relevant(score));
        }
    }
    let messages = chosen.into_iter().flat_map(|(index, why)| {
        let exchange = &outline[exchanges[index].clone()];
        exchange.iter().map(move |message| SelectedMessage {
            sequence: message.sequence,
            tokens: message.tokens,
            why,
        })
    });
    messages.collect()
}

/// How far back a conversation has to be read for a choice without a question.
#[derive(Clone, Copy, Debug)]
pub struct SelectionRange {
    budget: ContextBudget,
    tokens: u64,
    messages: u64,
}

impl SelectionRange {
    /// Nothing has been read yet.
    pub fn of(budget: ContextBudget) -> Self {
        Self {
            budget,
            tokens: 0,
            messages: 0,
        }
    }

    /// Counts the next older message; whether those before it can still matter. They can while there is room, and while it
    /// is not known where the exchange at hand begins.
    pub fn goes_beyond(&mut self, message: &MessageSummary) -> bool {
        self.tokens += message.tokens;
        self.messages += 1;
        let has_room =
            self.tokens <= self.budget.tokens && self.messages <= ContextBudget::MAX_MESSAGES;
        has_room || answers(message.role)
    }
}

/// Whether a message of this role belongs to the question before it.
fn answers(role: Role) -> bool {
    matches!(role, Role::Assistant | Role::Tool)
}

/// What may still be taken.
struct TokenBudget {
    tokens: u64,
    bytes: u64,
    messages: u64,
}

impl TokenBudget {
    fn of(budget: ContextBudget) -> Self {
        Self {
            tokens: budget.tokens,
            bytes: ContextBudget::MAX_BYTES,
            messages: ContextBudget::MAX_MESSAGES,
        }
    }

    /// Takes all of an exchange, or nothing of it.
    fn pay(&mut self, exchange: &[MessageSummary]) -> bool {
        let tokens = exchange.iter().map(|message| message.tokens).sum();
        let bytes = exchange.iter().map(|message| message.bytes).sum();
        let left = (
            self.tokens.checked_sub(tokens),
            self.bytes.checked_sub(bytes),
            self.messages.checked_sub(exchange.len() as u64),
        );
        let (Some(tokens), Some(bytes), Some(messages)) = left else {
            return false;
        };
        *self = Self {
            tokens,
            bytes,
            messages,
        };
        true
    }
}

/// The first of the newest exchanges that are taken. They are without gaps: behind one that does not fit, none is taken.
fn recent(
    budget: ContextBudget,
    outline: &[MessageSummary],
    exchanges: &[Range<usize>],
    purse: &mut TokenBudget,
) -> usize {
    let wanted = budget.recent.unwrap_or(u64::MAX);
    let mut messages = 0;
    let mut first = exchanges.len();
    while let Some(next) = first.checked_sub(1) {
        let exchange = &outline[exchanges[next].clone()];
        if messages >= wanted || !purse.pay(exchange) {
            break;
        }
        messages += exchange.len() as u64;
        first = next;
    }
    first
}

/// The whole exchanges of an outline, in order, as ranges of its indices.
fn exchanges(outline: &[MessageSummary]) -> Vec<Range<usize>> {
    let mut exchanges: Vec<Range<usize>> = Vec::new();
    let mut has_user = false;
    // What answers a message that is not in the outline belongs to an exchange that is not whole.
    let is_begun = outline.first().is_some_and(|first| first.sequence > 0);
    let cut = outline.iter().take_while(|it| is_begun && answers(it.role));
    let start = cut.count();
    for (index, message) in outline.iter().enumerate().skip(start) {
        match exchanges.last_mut() {
            Some(last) if has_user && answers(message.role) => last.end = index + 1,
            _ => {
                has_user = message.role == Role::User;
                exchanges.push(index..index + 1);
            }
        }
    }
    exchanges
}

/// The exchange that holds a message.
fn holding(outline: &[MessageSummary], exchanges: &[Range<usize>], sequence: u64) -> Option<usize> {
    let message = outline.binary_search_by_key(&sequence, |it| it.sequence);
    let message = message.ok()?;
    let after = exchanges.partition_point(|exchange| exchange.end <= message);
    exchanges
        .get(after)
        .filter(|exchange| exchange.contains(&message))
        .map(|_| after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One letter a message: user, assistant, tool, system; each costs 10.
    fn outline(first: u64, roles: &str) -> Vec<MessageSummary> {
        let role = |letter| match letter {
            'u' => Role::User,
            'a' => Role::Assistant,
            't' => Role::Tool,
            _ => Role::System,
        };
        (first..)
            .zip(roles.chars())
            .map(|(sequence, letter)| MessageSummary {
                sequence,
                role: role(letter),
                tokens: 10,
                bytes: 50,
            })
            .collect()
    }

    fn budget(tokens: u64, recent: Option<u64>) -> ContextBudget {
        ContextBudget { tokens, recent }
    }

    /// `r3` for a recent one, `q1` for a relevant one.
    fn shown(chosen: &[SelectedMessage]) -> String {
        let letter = |why| {
            if why == InclusionReason::Recent {
                'r'
            } else {
                'q'
            }
        };
        let words = chosen
            .iter()
            .map(|it| format!("{}{}", letter(it.why), it.sequence));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_exchange_is_a_question_with_all_that_answers_it() {
        assert_eq!(
            exchanges(&outline(0, "suatauusa")),
            [0..1, 1..5, 5..6, 6..7, 7..8, 8..9]
        );
        assert_eq!(exchanges(&outline(0, "aau")), [0..1, 1..2, 2..3]);
        assert_eq!(exchanges(&outline(4, "tauau")), [2..4, 4..5]);
    }

    #[test]
    fn the_newest_that_fit_are_taken_and_no_question_without_its_answer() {
        let talk = outline(0, "uauaua");
        assert_eq!(
            shown(&choose(budget(60, None), &talk, &[])),
            "r0 r1 r2 r3 r4 r5"
        );
        assert_eq!(shown(&choose(budget(59, None), &talk, &[])), "r2 r3 r4 r5");
        assert_eq!(shown(&choose(budget(19, None), &talk, &[])), "");
        assert_eq!(shown(&choose(budget(60, Some(1)), &talk, &[])), "r4 r5");
        assert_eq!(shown(&choose(budget(60, Some(0)), &talk, &[])), "");
    }

    #[test]
    fn relevant_ones_take_what_is_left_the_best_first() {
        let talk = outline(0, "uauauaua");
        let score = Score::new;
        let relevant = [
            (7, score(0.9)),
            (3, score(0.8)),
            (0, score(0.7)),
            (4, score(0.6)),
        ];
        let chosen = choose(budget(59, Some(2)), &talk, &relevant);
        assert_eq!(shown(&chosen), "q2 q3 r6 r7");
        assert_eq!(chosen[0].why, InclusionReason::Relevant(score(0.8)));
        let chosen = choose(budget(60, Some(2)), &talk, &relevant);
        assert_eq!(shown(&chosen), "q0 q1 q2 q3 r6 r7");
        let chosen = choose(budget(40, Some(0)), &talk, &relevant);
        assert_eq!(shown(&chosen), "q2 q3 q6 q7");
    }

    #[test]
    fn few_tokens_may_be_too_many_bytes() {
        let mut talk = outline(0, "uaua");
        talk[0].bytes = ContextBudget::MAX_BYTES;
        assert_eq!(shown(&choose(budget(60, None), &talk, &[])), "r2 r3");
    }

    #[test]
    fn numbers_out_of_bounds_are_refused_by_name() {
        assert_eq!(ContextBudget::new(0, None).unwrap_err().field, "max_tokens");
        assert_eq!(
            ContextBudget::new(1_000_001, None).unwrap_err().field,
            "max_tokens"
        );
        assert_eq!(
            ContextBudget::new(1, Some(10_001)).unwrap_err().field,
            "recent"
        );
    }

    fn talks() -> impl Strategy<Value = Vec<MessageSummary>> {
        let roles =
            prop::sample::select(vec![Role::User, Role::Assistant, Role::Tool, Role::System]);
        let messages = prop::collection::vec((roles, 1..30_u64), 0..40);
        (messages, 0..3_u64).prop_map(|(messages, first)| {
            let numbered = (first..).zip(messages);
            numbered
                .map(|(sequence, (role, tokens))| MessageSummary {
                    sequence,
                    role,
                    tokens,
                    bytes: tokens,
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_laws_hold_whatever_is_asked(
            talk in talks(),
            tokens in 1..400_u64,
            recent in prop::option::of(0..20_u64),
            about in prop::collection::vec((0..45_u64, 0..100_u8), 0..12),
        ) {
            let about: Vec<_> = about.into_iter().map(|(at, score)| (at, Score::new(f32::from(score) / 100.0))).collect();
            let budget = budget(tokens, recent);
            let chosen = choose(budget, &talk, &about);
            prop_assert!(chosen.iter().map(|it| it.tokens).sum::<u64>() <= tokens);
            prop_assert!(chosen.is_sorted_by(|a, b| a.sequence < b.sequence));
            let has = |sequence| chosen.iter().any(|it| it.sequence == sequence);
            for pair in talk.windows(2) {
                let is_answered = matches!(pair[1].role, Role::Assistant | Role::Tool);
                if pair[0].role == Role::User && is_answered {
                    prop_assert_eq!(has(pair[0].sequence), has(pair[1].sequence));
                }
            }
            // As much as has to be read is as good as everything.
            let mut reach = SelectionRange::of(budget);
            let beyond = talk.iter().rev().take_while(|message| reach.goes_beyond(message)).count();
            let end = &talk[talk.len().saturating_sub(beyond + 1)..];
            prop_assert_eq!(choose(budget, end, &[]), choose(budget, &talk, &[]));
            // The recent ones are those that there are without a question, and they are the end of the talk.
            let newest: Vec<_> = chosen.iter().filter(|it| it.why == InclusionReason::Recent).copied().collect();
            prop_assert_eq!(&newest, &choose(budget, &talk, &[]));
            let end: Vec<_> = talk.iter().rev().take(newest.len()).rev().map(|it| it.sequence).collect();
            prop_assert_eq!(newest.iter().map(|it| it.sequence).collect::<Vec<_>>(), end);
        }
    }
}
