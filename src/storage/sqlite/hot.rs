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

/// Bytes of texts held at most; beyond, everything is forgotten, and what is asked for comes back.
const MOST_BYTES: usize = 32 << 20;

/// The answers. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Hot(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    answers: HashMap<Uuid, Answer>,
    rows: HashMap<i64, Uuid>,
    bytes: usize,
    /// How often something was forgotten: what was read before the last time may be of before it.
    forgotten: u64,
}

#[derive(Debug)]
struct Answer {
    key: PromptKey,
    answer: KeptAnswer,
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
        let found = held.answers.get(&id).filter(|held| held.key == *key)?;
        (found.answer.expires_at > now).then(|| found.answer.clone())
    }

    /// Before a read.
    pub(super) fn since(&self) -> Since {
        Since(self.held().forgotten)
    }

    /// Holds what was read, unless something was changed meanwhile.
    pub(super) fn hold(&self, since: Since, row: i64, key: &PromptKey, answer: &KeptAnswer) {
        let mut held = self.held();
        if held.forgotten != since.0 {
            return;
        }
        held.bytes += bytes(answer);
        if held.bytes > MOST_BYTES {
            let forgotten = held.forgotten;
            *held = Held {
                forgotten,
                bytes: bytes(answer),
                ..Held::default()
            };
        }
        held.forget(row);
        held.rows.insert(row, answer.id);
        let answer = Answer {
            key: key.clone(),
            answer: answer.clone(),
        };
        held.answers.insert(answer.answer.id, answer);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn forget(&mut self, row: i64) {
        let id = self.rows.remove(&row);
        if let Some(gone) = id.and_then(|id| self.answers.remove(&id)) {
            self.bytes = self.bytes.saturating_sub(bytes(&gone.answer));
        }
    }
}

fn bytes(answer: &KeptAnswer) -> usize {
    answer.prompt.as_str().len() + answer.response.as_str().len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;
    use crate::chat::{Content, PromptSetting, Scope, content_hash};

    fn key(prompt: &str) -> PromptKey {
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

    fn has(hot: &Hot, prompt: &str) -> bool {
        let key = key(prompt);
        hot.find(&key, key.id(), Timestamp::from_ms(99)).is_some()
    }

    #[test]
    fn a_changed_row_is_forgotten_and_no_other() {
        let hot = Hot::default();
        for (row, prompt) in [(1, "a"), (2, "b"), (3, "c")] {
            hot.hold(hot.since(), row, &key(prompt), &answer(prompt, 1));
        }
        assert!(has(&hot, "a") && has(&hot, "b") && has(&hot, "c"));
        let since = hot.since();
        hot.forget([1, 2].into_iter());
        assert!(!has(&hot, "a") && !has(&hot, "b") && has(&hot, "c"));
        hot.hold(since, 1, &key("a"), &answer("a", 1));
        assert!(!has(&hot, "a"), "read before the change");
    }

    #[test]
    fn what_has_expired_is_not_found_and_no_more_is_held_than_there_is_room_for() {
        let (hot, end) = (Hot::default(), Timestamp::from_ms(100));
        for (row, prompt) in [(1, "a"), (2, "b"), (3, "c")] {
            hot.hold(
                hot.since(),
                row,
                &key(prompt),
                &answer(prompt, MOST_BYTES / 2 - 1),
            );
        }
        assert!(!has(&hot, "a") && has(&hot, "c"));
        assert_eq!(hot.find(&key("c"), key("c").id(), end), None);
        let held = hot.held();
        assert_eq!((held.answers.len(), held.rows.len()), (1, 1));
        assert_eq!(held.bytes, MOST_BYTES / 2);
    }
}
