//! Answers to prompts that were read lately, in memory: the same few are asked for again and again, and a read costs two threads
//! a wake-up.
//!
//! **Invariant:** what is here is what the table holds, as of the last commit that was acknowledged. Every row that the writing
//! connection changes is noted by SQLite itself (`changed.rs`), and forgotten here before anyone hears of the commit. The file
//! belongs to one process.

use crate::chat::{PromptKey, Timestamp};
use crate::storage::database::KeptAnswer;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Bytes of texts held at most. When the younger half is full, the older one is forgotten, and what is asked for comes back.
const MOST_BYTES: usize = 32 << 20;

/// The answers. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Hot(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    young: Half,
    old: Half,
    /// How often something was forgotten: what was read before the last time may be of before it.
    forgotten: u64,
}

/// Answers that were read one after another.
#[derive(Debug, Default)]
pub(super) struct Half {
    answers: HashMap<Uuid, (PromptKey, KeptAnswer)>,
    rows: HashMap<i64, Uuid>,
    bytes: usize,
}

/// An answer that has been read, and where.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) row: i64,
    pub(super) key: PromptKey,
    pub(super) answer: KeptAnswer,
}

/// From when a read is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since(u64);

impl Hot {
    /// Forgets the answers in rows that have been changed. After the commit, and before anyone is told of it.
    pub(super) fn forget(&self, rows: impl ExactSizeIterator<Item = i64>) {
        if rows.len() == 0 {
            return;
        }
        let mut held = self.held();
        held.forgotten += 1;
        for row in rows {
            held.forget(row);
        }
    }

    /// The answer at a key, if it is here and good at `now`.
    pub(super) fn find(&self, key: &PromptKey, id: Uuid, now: Timestamp) -> Option<KeptAnswer> {
        let held = self.held();
        let mut halves = [&held.young, &held.old].into_iter();
        let (held, answer) = halves.find_map(|half| half.answers.get(&id))?;
        (held == key && answer.expires_at > now).then(|| answer.clone())
    }

    /// Before a read.
    pub(super) fn since(&self) -> Since {
        Since(self.held().forgotten)
    }

    /// Holds what was read, unless something was changed meanwhile. Hands out what there is no more room for: to drop it takes a
    /// while, and is best done where nobody waits.
    pub(super) fn hold(&self, since: Since, read: Vec<Read>) -> Vec<Half> {
        let mut held = self.held();
        if held.forgotten != since.0 {
            return Vec::new();
        }
        read.into_iter().filter_map(|it| held.hold(it)).collect()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn forget(&mut self, row: i64) {
        self.young.forget(row);
        self.old.forget(row);
    }

    fn hold(&mut self, Read { row, key, answer }: Read) -> Option<Half> {
        self.forget(row);
        let bytes = bytes(&answer);
        let is_full = self.young.bytes + bytes > MOST_BYTES / 2;
        let gone = is_full.then(|| self.age());
        self.young.bytes += bytes;
        self.young.rows.insert(row, answer.id);
        self.young.answers.insert(answer.id, (key, answer));
        gone
    }

    /// Makes the young ones old. Hands out those that were.
    fn age(&mut self) -> Half {
        let gone = std::mem::take(&mut self.old);
        self.old = std::mem::take(&mut self.young);
        gone
    }
}

impl Half {
    fn forget(&mut self, row: i64) {
        let id = self.rows.remove(&row);
        if let Some((_, gone)) = id.and_then(|id| self.answers.remove(&id)) {
            self.bytes = self.bytes.saturating_sub(bytes(&gone));
        }
    }
}

fn bytes(answer: &KeptAnswer) -> usize {
    answer.prompt.as_str().len() + answer.response.as_str().len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
pub(super) mod tests {
    use super::*;
    use crate::chat::{Content, PromptSetting, Scope, content_hash};

    /// The key of a prompt, all else being the same.
    pub(in crate::storage::sqlite) fn key(prompt: &str) -> PromptKey {
        let setting = PromptSetting {
            scope: Scope::Tenant("t".into()),
            model: "m".into(),
            temperature: None,
            max_tokens: None,
            context_hash: content_hash(""),
        };
        PromptKey::new(setting, prompt)
    }

    fn answer(prompt: &str, length: usize) -> KeptAnswer {
        KeptAnswer {
            id: key(prompt).id(),
            prompt: Content::from_stored(prompt),
            response: Content::from_stored(&"x".repeat(length)),
            generation_ms: 0.0,
            input_tokens: 0,
            output_tokens: 0,
            hits: 0,
            created_at: Timestamp::from_ms(0),
            expires_at: Timestamp::from_ms(100),
        }
    }

    fn hold(hot: &Hot, since: Since, row: i64, (prompt, length): (&str, usize)) {
        let (key, answer) = (key(prompt), answer(prompt, length));
        hot.hold(since, vec![Read { row, key, answer }]);
    }

    fn has(hot: &Hot, prompt: &str) -> bool {
        let key = key(prompt);
        hot.find(&key, key.id(), Timestamp::from_ms(99)).is_some()
    }

    #[test]
    fn a_changed_row_is_forgotten_and_no_other() {
        let hot = Hot::default();
        for (row, prompt) in [(1, "a"), (2, "b"), (3, "c")] {
            hold(&hot, hot.since(), row, (prompt, 1));
        }
        assert!(has(&hot, "a") && has(&hot, "b") && has(&hot, "c"));
        let since = hot.since();
        hot.forget([1, 2].into_iter());
        assert!(!has(&hot, "a") && !has(&hot, "b") && has(&hot, "c"));
        hold(&hot, since, 1, ("a", 1));
        assert!(!has(&hot, "a"), "read before the change");
    }

    #[test]
    fn what_has_expired_is_not_found_and_no_more_is_held_than_there_is_room_for() {
        let (hot, end) = (Hot::default(), Timestamp::from_ms(100));
        let length = MOST_BYTES / 4 - 1; // two of them in a half
        for (row, prompt) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
            hold(&hot, hot.since(), row, (prompt, length));
        }
        assert!(["a", "b", "c", "d"].iter().all(|it| has(&hot, it)));
        assert_eq!(hot.find(&key("c"), key("c").id(), end), None);
        hold(&hot, hot.since(), 2, ("b", length)); // read again, it is young
        hold(&hot, hot.since(), 5, ("e", length));
        assert!(!has(&hot, "a"), "the oldest go");
        assert!(["b", "c", "d", "e"].iter().all(|it| has(&hot, it)));
        hot.forget([3, 5].into_iter());
        assert!(!has(&hot, "c") && !has(&hot, "e"));
        let held = hot.held();
        let counts = |half: &Half| (half.answers.len(), half.rows.len(), half.bytes);
        assert_eq!(counts(&held.young), (1, 1, length + 1));
        assert_eq!(counts(&held.old), (1, 1, length + 1));
    }
}
