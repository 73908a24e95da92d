//! Batches concurrent prompt cache lookups: waking a thread, beginning a read transaction and preparing a statement cost more
//! than finding an entry.
//!
//! There is no timer, as on the write path: while some lookups are read, the next ones gather. A lone lookup waits for nobody.
//! Each lookup queues one job, and each job reads the longest waiting lookups: there are as many jobs to come as lookups in the
//! line, so none is left there.

use super::error::convert;
use super::prompt_read_cache::{Entry, PromptReadCache};
use super::rows::Time;
use super::sql;
use guestbook_core::error::Result;
use guestbook_core::{Content, Digest, PromptKey, Timestamp};
use guestbook_storage::database::CacheEntry;
use rusqlite::{Connection, OptionalExtension, Row, Statement};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use uuid::Uuid;

pub(super) const OPERATION: &str = "prompts_find";
/// Lookups per job: all of them wait for the last one. Further ones cost less each.
const AT_ONCE: usize = 8;

/// A key and the id derived from it.
pub(super) type LookupKey = (Uuid, PromptKey);
/// An entry for each key.
pub(super) type LookupResults = Result<Vec<Option<CacheEntry>>>;
/// For each key the entry and its row number.
type FoundRows = Result<Vec<Option<(i64, CacheEntry)>>>;

/// The waiting lookups. All clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct LookupBatcher(Arc<Mutex<VecDeque<PendingLookup>>>);

/// A waiting lookup.
#[derive(Debug)]
struct PendingLookup {
    keys: Vec<LookupKey>,
    /// Entries must be live at this time.
    now: Timestamp,
    reply: oneshot::Sender<LookupResults>,
}

impl LookupBatcher {
    /// Adds a lookup to the line. The returned job must be queued at once: other lookups rely on it.
    pub(super) fn wait(
        &self,
        keys: Vec<LookupKey>,
        now: Timestamp,
    ) -> (oneshot::Receiver<LookupResults>, LookupJob) {
        let (reply, results) = oneshot::channel();
        self.line().push_back(PendingLookup { keys, now, reply });
        (results, LookupJob(Some(self.clone())))
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<PendingLookup>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job, until it has run.
#[derive(Debug)]
pub(super) struct LookupJob(Option<LookupBatcher>);

impl LookupJob {
    /// Serves the longest waiting lookups, if another job has not done so.
    pub(super) fn run(mut self, connection: &mut Connection, cache: &PromptReadCache) {
        let Some(lookups) = self.0.take() else { return };
        let together: Vec<_> = {
            let mut line = lookups.line();
            let count = AT_ONCE.min(line.len());
            line.drain(..count).collect()
        };
        if !together.is_empty() {
            entry(connection, cache, together);
        }
    }
}

/// If the job never runs, because the store is poisoned or its threads have ended, nobody may wait for it any longer.
impl Drop for LookupJob {
    fn drop(&mut self) {
        if let Some(lookups) = self.0.take() {
            let waiting = std::mem::take(&mut *lookups.line());
            drop(waiting); // closes their reply channels
        }
    }
}

/// Replies are sent after the whole batch is read; earlier wake-ups would compete for CPU.
fn entry(connection: &mut Connection, cache: &PromptReadCache, together: Vec<PendingLookup>) {
    let version = cache.at_read(); // before the first statement, which begins the snapshot
    let found = read(connection, &together)
        .unwrap_or_else(|cause| vec![Err(convert(OPERATION)(cause)); together.len()]);
    let mut replies = Vec::with_capacity(together.len());
    for (lookup, found) in together.into_iter().zip(found) {
        let wanted = lookup.keys.into_iter().map(|(_, key)| key);
        let hold = |(key, found): (PromptKey, Option<(i64, CacheEntry)>)| {
            let (row, entry) = found?;
            cache.insert(Entry {
                version: version.of(row),
                key,
                cached: entry.clone(),
            });
            Some(entry)
        };
        let results = found.map(|found| wanted.zip(found).map(hold).collect());
        replies.push((lookup.reply, results));
    }
    for (reply, results) in replies {
        // A client that went away changes nothing.
        let _ = reply.send(results);
    }
}

/// Reads all lookups in one read transaction, which begins after they were queued. A damaged row fails only its own lookup.
fn read(
    connection: &mut Connection,
    together: &[PendingLookup],
) -> rusqlite::Result<Vec<FoundRows>> {
    let transaction = connection.transaction()?;
    let mut select = transaction.prepare_cached(sql::PROMPT_FIND)?;
    let mut of_one = |lookup: &PendingLookup| {
        let each = lookup.keys.iter();
        let found = each.map(|key| find(&mut select, key, lookup.now));
        let found = found.collect::<rusqlite::Result<Vec<_>>>();
        found.map_err(convert(OPERATION))
    };
    let found = together.iter().map(&mut of_one).collect();
    drop(select);
    transaction.finish()?;
    Ok(found)
}

/// The live entry at a key at `now`, and its row number.
fn find(
    select: &mut Statement<'_>,
    (id, key): &LookupKey,
    now: Timestamp,
) -> rusqlite::Result<Option<(i64, CacheEntry)>> {
    let mut text = Uuid::encode_buffer();
    let read = |row: &Row<'_>| {
        if !is_at(row, key)? {
            return Ok(None);
        }
        Ok(Some((row.get(0)?, kept(row, *id)?)))
    };
    let found = select.query_row([&*id.as_hyphenated().encode_lower(&mut text)], read);
    let good = |(_, entry): &(i64, CacheEntry)| entry.expires_at > now;
    Ok(found.optional()?.flatten().filter(good))
}

/// The id is derived from the whole key; the parts that must never be confused are compared as well.
fn is_at(row: &Row<'_>, key: &PromptKey) -> rusqlite::Result<bool> {
    let (scope, context, prompt) = (row.get_ref(1)?, row.get_ref(2)?, row.get_ref(3)?);
    Ok(key.setting.scope.is_stored_as(scope.as_str()?)
        && Digest::from_hex(context.as_str()?) == Some(key.setting.context_hash)
        && Digest::from_hex(prompt.as_str()?) == Some(key.prompt_hash))
}

fn kept(row: &Row<'_>, id: Uuid) -> rusqlite::Result<CacheEntry> {
    Ok(CacheEntry {
        id,
        prompt: Content::from_stored(row.get_ref(4)?.as_str()?),
        response: Content::from_stored(row.get_ref(5)?.as_str()?),
        generation_ms: row.get(6)?,
        input_tokens: row.get(7)?,
        output_tokens: row.get(8)?,
        hits: row.get(9)?,
        created_at: row.get::<_, Time>(10)?.0,
        expires_at: row.get::<_, Time>(11)?.0,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::super::open;
    use super::super::prompt_read_cache::tests::key;
    use super::*;
    use guestbook_storage::Durability;
    use rusqlite::params;

    fn keys(number: usize) -> Vec<LookupKey> {
        let key = key(&number.to_string());
        vec![(key.id(), key)]
    }

    fn put(connection: &Connection, number: usize, (scope, created_at): (&str, &str)) {
        let (id, key) = &keys(number)[0];
        let row = params![
            id.to_string(),
            scope,
            key.setting.context_hash.to_hex(),
            key.prompt_hash.to_hex(),
            created_at,
            number.to_string()
        ];
        let insert = "INSERT INTO prompt_cache (id, scope, context_hash, model, prompt_hash, response_hash, generation_time,
                input_tokens, output_tokens, last_accessed, created_at, expires_at, size, prompt_text, response_text)
            VALUES (?1, ?2, ?3, 'm', ?4, '', 0.0, 0, 0, ?5, ?5, '2026-11-28T12:00:01.000Z', 1, ?6, ?6)";
        connection.execute(insert, row).unwrap();
    }

    const GOOD: (&str, &str) = ("tenant:t", "2026-11-28T12:00:00.000Z");

    #[test]
    fn a_turn_answers_those_who_have_waited_longest_and_no_turn_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guestbook.db");
        let mut connection = open::writer(&path, Durability::Full).unwrap().connection;
        let count = AT_ONCE + 2;
        (0..count).for_each(|number| put(&connection, number, GOOD));
        let (cache, lookups) = (PromptReadCache::default(), LookupBatcher::default());
        let now = Timestamp::parse(GOOD.1).unwrap();
        let waiting = (0..count).map(|number| lookups.wait(keys(number), now));
        let (mut results, jobs): (Vec<_>, Vec<_>) = waiting.unzip();
        let mut jobs = jobs.into_iter().rev(); // in whatever order they are queued
        jobs.next().unwrap().run(&mut connection, &cache);
        let received = results.iter_mut().map(|it| it.try_recv().is_ok());
        assert_eq!(received.filter(|is_received| *is_received).count(), AT_ONCE);
        jobs.next().unwrap().run(&mut connection, &cache);
        for entry in &mut results[AT_ONCE..] {
            assert!(entry.try_recv().unwrap().unwrap()[0].is_some());
        }
        jobs.for_each(|job| job.run(&mut connection, &cache)); // with nothing left to do
        assert!(cache.find(&keys(0)[0].1, keys(0)[0].0, now).is_some());
    }

    #[test]
    fn what_is_wrong_with_a_row_concerns_only_who_asked_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guestbook.db");
        let mut connection = open::writer(&path, Durability::Full).unwrap().connection;
        put(&connection, 0, GOOD);
        put(&connection, 1, ("tenant:t", "yesterday"));
        put(&connection, 2, ("tenant:other", GOOD.1));
        let (cache, lookups) = (PromptReadCache::default(), LookupBatcher::default());
        let now = Timestamp::parse(GOOD.1).unwrap();
        let end = Timestamp::from_ms(now.ms() + 1000);
        let lookup = [(0, now), (1, now), (2, now), (0, end), (3, now)];
        let waiting = lookup.map(|(number, at)| lookups.wait(keys(number), at));
        let mut results = Vec::new();
        for (entry, job) in waiting {
            job.run(&mut connection, &cache);
            results.push(entry);
        }
        let received = results.iter_mut().map(|it| it.try_recv().unwrap());
        let shown = received.map(|it| it.map(|it| it[0].is_some()).map_err(drop));
        let expected = [Ok(true), Err(()), Ok(false), Ok(false), Ok(false)];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_turn_that_never_comes_tells_whoever_waits() {
        let (lookups, now) = (LookupBatcher::default(), Timestamp::from_ms(0));
        let (mut first, job) = lookups.wait(keys(0), now);
        let (mut second, _other) = lookups.wait(keys(1), now);
        drop(job);
        let gone = oneshot::error::TryRecvError::Closed;
        assert_eq!(first.try_recv().unwrap_err(), gone);
        assert_eq!(second.try_recv().unwrap_err(), gone);
    }
}
