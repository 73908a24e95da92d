//! Lookups of answers that wait at the same time, read together: a thread that wakes, a read transaction and a statement that is
//! prepared cost more than finding the answer does.
//!
//! There is no timer, as on the write path: while some are read, the next ones gather. A lone lookup waits for nobody.

use super::error::convert;
use super::hot::{Hot, Since};
use super::rows::{Id, Time};
use super::sql;
use crate::chat::{Content, PromptKey, Timestamp};
use crate::error::Result;
use crate::storage::database::KeptAnswer;
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Lookups that one thread takes at a time, so that the others have something to do.
const AT_ONCE: usize = 16;

/// A key and the id that is made of it.
pub(super) type Sought = (Uuid, PromptKey);
/// An answer for each key.
pub(super) type Answers = Result<Vec<Option<KeptAnswer>>>;

/// Those that wait. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Lookups(Arc<Mutex<Line>>);

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Asked>,
    /// Turns that are in the queue of the threads and have not begun: each answers all that wait when it begins. For a moment
    /// below 0, when one begins before it was noted.
    turns: isize,
}

/// A lookup that waits.
#[derive(Debug)]
struct Asked {
    sought: Vec<Sought>,
    /// Answers must be good at this time.
    now: Timestamp,
    reply: oneshot::Sender<Answers>,
}

impl Lookups {
    /// Waits in line; and whether no turn is to come yet, so that the caller must queue one.
    pub(super) fn wait(
        &self,
        sought: Vec<Sought>,
        now: Timestamp,
    ) -> (oneshot::Receiver<Answers>, bool) {
        let (reply, answers) = oneshot::channel();
        let mut line = self.line();
        line.waiting.push_back(Asked { sought, now, reply });
        (answers, line.turns <= 0)
    }

    /// A turn, for a thread that reads.
    pub(super) fn turn(&self) -> Turn {
        Turn {
            lookups: self.clone(),
            has_begun: false,
            is_done: false,
        }
    }

    /// Notes that a turn is in the queue for good: from now on others rely on it.
    pub(super) fn queued(&self) {
        self.line().turns += 1;
    }

    /// Answers all that wait now, or sees to it that another thread is doing so.
    pub(super) fn answer(&self, connection: &mut Connection, hot: &Hot) {
        let count = self.line().waiting.len();
        self.answer_first(count, connection, hot);
    }

    fn answer_first(&self, mut left: usize, connection: &mut Connection, hot: &Hot) {
        while left > 0 {
            let together = self.take(left);
            if together.is_empty() {
                return; // another thread has taken them
            }
            left -= together.len();
            answer_together(connection, hot, together);
        }
    }

    fn take(&self, most: usize) -> Vec<Asked> {
        let mut line = self.line();
        let count = most.min(AT_ONCE).min(line.waiting.len());
        line.waiting.drain(..count).collect()
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A turn that others rely on.
#[derive(Debug)]
pub(super) struct Turn {
    lookups: Lookups,
    has_begun: bool,
    is_done: bool,
}

impl Turn {
    /// As [`Lookups::answer`].
    pub(super) fn run(mut self, connection: &mut Connection, hot: &Hot) {
        let count = {
            let mut line = self.lookups.line();
            line.turns -= 1;
            line.waiting.len()
        };
        self.has_begun = true;
        self.lookups.answer_first(count, connection, hot);
        self.is_done = true;
    }
}

/// Where it does not come to its end, because its thread panics or the store is poisoned, nobody may wait for it any longer.
impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut line = self.lookups.line();
        if !self.has_begun {
            line.turns -= 1;
        }
        let waiting = std::mem::take(&mut line.waiting);
        drop(line);
        drop(waiting); // tells them
    }
}

/// In one read transaction, which begins after all of them were asked.
fn answer_together(connection: &mut Connection, hot: &Hot, together: Vec<Asked>) {
    let mut left = together.into_iter();
    let read = |connection: &mut Connection, left: &mut std::vec::IntoIter<Asked>| {
        let since = hot.since(); // before the first statement, with which the view of the read begins
        let transaction = connection.transaction()?;
        let mut select = transaction.prepare_cached(sql::PROMPT_FIND)?;
        for asked in left {
            let found = asked
                .sought
                .iter()
                .map(|sought| find(&mut select, (hot, since), sought, asked.now));
            let found = found.collect::<rusqlite::Result<_>>();
            // A client that went away changes nothing.
            let _ = asked.reply.send(found.map_err(convert("prompts_find")));
        }
        drop(select);
        transaction.finish()
    };
    if let Err(cause) = read(connection, &mut left) {
        let failure = convert("prompts_find")(cause);
        for asked in left {
            let _ = asked.reply.send(Err(failure.clone()));
        }
    }
}

/// The answer at a key that is good at `now`; held in memory from then on.
fn find(
    select: &mut Statement<'_>,
    (hot, since): (&Hot, Since),
    (id, key): &Sought,
    now: Timestamp,
) -> rusqlite::Result<Option<KeptAnswer>> {
    let row = params![
        Id(*id),
        key.setting.scope.to_string(),
        key.setting.context_hash.to_hex(),
        key.prompt_hash.to_hex(),
        Time(now)
    ];
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(9)?, kept(row)?));
    let found = select.query_row(row, read).optional()?;
    Ok(found.map(|(row, answer)| {
        hot.hold(since, row, key, &answer);
        answer
    }))
}

fn kept(row: &Row<'_>) -> rusqlite::Result<KeptAnswer> {
    Ok(KeptAnswer {
        id: row.get::<_, Id>(0)?.0,
        prompt: Content::from_stored(row.get_ref(1)?.as_str()?),
        response: Content::from_stored(row.get_ref(2)?.as_str()?),
        generation_ms: row.get(3)?,
        input_tokens: row.get(4)?,
        output_tokens: row.get(5)?,
        hits: row.get(6)?,
        created_at: row.get::<_, Time>(7)?.0,
        expires_at: row.get::<_, Time>(8)?.0,
    })
}
