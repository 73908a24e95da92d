//! What was sent, what was answered, and what is there in the end.

use crate::client::Client;
use crate::rig::{Rig, Row};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(90);
/// How long a node may take to see that its lists are there again.
const NOTICE: Duration = Duration::from_secs(20);
/// Examples shown of each kind of fault.
const SHOWN: usize = 4;

/// A message, from before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) client: usize,
    pub(crate) guest: String,
    /// Chosen by the client; without one the message may not be sent again.
    pub(crate) id: Option<Uuid>,
    pub(crate) role: &'static str,
    /// Unlike any other.
    pub(crate) content: String,
    fate: Fate,
    /// Covered by a deletion that was answered.
    gone: bool,
    /// Whose it is after a migration that was answered.
    user: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Fate {
    Sent,
    /// The connection died, or the answer was a 503: it may be stored, whole and once, or not.
    Unknown,
    Saved(Place),
}

/// Where an answer says that a message is.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Place {
    id: String,
    conversation: String,
    sequence: u64,
}

/// Everything that was sent and answered.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Book>);

/// The counts of a run so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    entries: Vec<Entry>,
    pub(crate) saved: usize,
    /// Of these, how many said that the list follows later.
    pub(crate) pending: usize,
    pub(crate) replayed: usize,
    pub(crate) unavailable: usize,
    pub(crate) died: usize,
    pub(crate) reads: usize,
    pub(crate) slowest: Duration,
    /// Answers that must never come: other errors, a 503 without Retry-After, none at all.
    pub(crate) wrong: Vec<String>,
}

impl Ledger {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a message that is about to be sent; its number.
    pub(crate) fn sent(&self, client: usize, guest: &str, with_id: bool) -> usize {
        let mut book = self.book();
        let number = book.entries.len();
        book.entries.push(Entry {
            client,
            guest: guest.to_owned(),
            id: with_id.then(Uuid::new_v4),
            role: if number.is_multiple_of(3) {
                "assistant"
            } else {
                "user"
            },
            content: format!("message {number} of client {client} to {guest}, a day at the sea"),
            fate: Fate::Sent,
            gone: false,
            user: None,
        });
        number
    }

    pub(crate) fn entry(&self, number: usize) -> Entry {
        self.book().entries[number].clone()
    }

    /// Notes that it is not known what became of a message.
    pub(crate) fn unknown(&self, number: usize) {
        self.book().entries[number].fate = Fate::Unknown;
    }

    /// Notes that a message was answered as saved.
    pub(crate) fn saved(&self, number: usize, answer: &Value) {
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        let place = Place {
            id: text("message_id"),
            conversation: text("conversation_id"),
            sequence: answer["sequence"].as_u64().unwrap_or(u64::MAX),
        };
        let mut book = self.book();
        book.saved += 1;
        book.pending += usize::from(answer["receipt"]["list"] == "pending");
        book.replayed += usize::from(answer["replayed"] == true);
        book.entries[number].fate = Fate::Saved(place);
    }

    /// Notes that a guest's chat was answered as deleted.
    pub(crate) fn deleted(&self, guest: &str) {
        let mut book = self.book();
        let of_guest = |entry: &&mut Entry| entry.guest == guest && entry.user.is_none();
        book.entries
            .iter_mut()
            .filter(of_guest)
            .for_each(|entry| entry.gone = true);
    }

    /// Notes that a guest's chat was answered as migrated.
    pub(crate) fn migrated(&self, guest: &str, user: &str) {
        let mut book = self.book();
        let of_guest = |entry: &&mut Entry| entry.guest == guest && !entry.gone;
        book.entries
            .iter_mut()
            .filter(of_guest)
            .for_each(|entry| entry.user = entry.user.take().or(Some(user.to_owned())));
    }

    /// Waits until the counts are as wanted.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Book) -> bool) {
        let since = Instant::now();
        while !is_so(&self.book()) {
            assert!(
                since.elapsed() < DEADLINE,
                "never: {what}: {}",
                self.counts()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until this many more messages are saved.
    pub(crate) async fn progress(&self, more: usize) {
        let wanted = self.book().saved + more;
        self.until("more saved messages", |book| book.saved >= wanted)
            .await;
    }

    /// Waits until the lists are as the tables say and are noted as such, asking no node; how long it took.
    pub(crate) async fn until_listed(&self, rig: &Rig) -> Duration {
        let since = Instant::now();
        loop {
            let mut found = Findings::default();
            found.lists(rig, &rig.rows().await).await;
            if found.is_clean() {
                return since.elapsed();
            }
            assert!(
                since.elapsed() < DEADLINE,
                "the lists never settle: {found}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Compares the ledger with every store once the lists have settled: by SQL, by LRANGE, by asking every node, and by
    /// `guestbook verify`.
    pub(crate) async fn assert_clean(&self, rig: &Rig, nodes: &[&Client]) {
        self.until_listed(rig).await;
        let found = self.findings(rig, nodes).await;
        let (counts, wrong) = (self.counts(), self.book().wrong.clone());
        println!("ledger: {counts}; {found}");
        assert!(
            found.is_clean() && wrong.is_empty(),
            "{counts}; {found}; wrong answers: {}, such as {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(SHOWN)]
        );
        for node in nodes {
            let report = node.verify(None).await;
            assert_eq!(report["ok"], true, "{report:#}");
        }
        rig.assert_verified();
    }

    /// Everything that is not as it was answered, or not as another store has it.
    pub(crate) async fn findings(&self, rig: &Rig, nodes: &[&Client]) -> Findings {
        let rows = rig.rows().await;
        let mut found = Findings::default();
        found.compare(&self.book().entries, &rows);
        found.counters(rig).await;
        found.lists(rig, &rows).await;
        for node in nodes {
            found.answers(node, &rows).await;
        }
        found
    }

    fn counts(&self) -> String {
        let book = self.book();
        let unknown = book.entries.iter();
        let unknown = unknown.filter(|entry| entry.fate == Fate::Unknown).count();
        format!(
            "sent {} saved {} (list pending {}, replayed {}) unknown {unknown}; 503 {} died {} reads {} slowest {:?}",
            book.entries.len(),
            book.saved,
            book.pending,
            book.replayed,
            book.unavailable,
            book.died,
            book.reads,
            book.slowest
        )
    }
}

/// What is not as it should be.
#[derive(Debug, Default)]
pub(crate) struct Findings(BTreeMap<&'static str, Vec<String>>);

/// What can be wrong.
pub(crate) const KINDS: [&str; 11] = [
    "lost",
    "changed",
    "duplicated",
    "phantom",
    "misplaced",
    "gaps",
    "order",
    "counters",
    "divergent",
    "unsynced",
    "unread",
];

impl Findings {
    fn add(&mut self, kind: &'static str, what: impl Into<String>) {
        assert!(KINDS.contains(&kind));
        self.0.entry(kind).or_default().push(what.into());
    }

    fn is_clean(&self) -> bool {
        self.0.is_empty()
    }

    /// How often this is wrong.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.0.get(kind).map_or(0, Vec::len)
    }

    /// What was answered against what is stored.
    fn compare(&mut self, entries: &[Entry], rows: &[Row]) {
        let mut stored: HashMap<&str, Vec<&Row>> = HashMap::new();
        for row in rows {
            stored.entry(&row.content).or_default().push(row);
        }
        let mut latest: HashMap<(usize, &str), u64> = HashMap::new();
        for entry in entries {
            let there = stored.remove(entry.content.as_str()).unwrap_or_default();
            if there.len() > 1 {
                self.add("duplicated", format!("{there:?}"));
            }
            let row = there.first();
            if let Some(row) = row
                && (row.role != entry.role || !row.is_whole)
            {
                self.add("changed", format!("{row:?} was {entry:?}"));
            }
            match (&entry.fate, row) {
                (Fate::Saved(_), None) if !entry.gone => self.add("lost", format!("{entry:?}")),
                (Fate::Saved(_), Some(row)) if entry.gone => {
                    self.add("phantom", format!("deleted: {row:?}"))
                }
                (Fate::Saved(place), Some(row)) => {
                    let owner = match &entry.user {
                        Some(user) => ("authenticated", user),
                        None => ("guest", &entry.guest),
                    };
                    let is_there = (&row.id, &row.conversation, row.sequence)
                        == (&place.id, &place.conversation, place.sequence)
                        && (row.platform.as_str(), &row.owner) == owner;
                    if !is_there || entry.id.is_some_and(|id| id.to_string() != row.id) {
                        self.add("misplaced", format!("{row:?} was {entry:?}"));
                    }
                    let before = latest.insert((entry.client, &row.conversation), row.sequence);
                    if before.is_some_and(|before| before >= row.sequence) {
                        self.add("order", format!("{row:?} after #{before:?}"));
                    }
                }
                _ => {}
            }
        }
        for row in stored.into_values().flatten() {
            self.add("phantom", format!("never sent: {row:?}"));
        }
        let mut next: HashMap<&str, u64> = HashMap::new();
        for row in rows {
            let next = next.entry(&row.conversation).or_default();
            if row.sequence != *next {
                self.add("gaps", format!("{row:?} instead of #{next}"));
            }
            *next = row.sequence + 1;
        }
    }

    /// Counters and what hangs on messages against the messages.
    async fn counters(&mut self, rig: &Rig) {
        for line in rig.psql(COUNTERS).await.lines() {
            self.add("counters", line);
        }
    }

    /// Raw lists against rows.
    async fn lists(&mut self, rig: &Rig, rows: &[Row]) {
        let mut expected = by_guest(rows);
        for guest in rig.listed_guests().await {
            expected.entry(guest).or_default();
        }
        let guests: Vec<_> = expected.keys().cloned().collect();
        let lists = rig.lists(&guests).await;
        for ((guest, rows), list) in expected.iter().zip(lists) {
            let rows: Vec<_> = rows.iter().map(|row| (&*row.role, &*row.content)).collect();
            let list: Vec<_> = list.iter().map(words).collect();
            if rows != list {
                let (rows, list) = (rows.len(), list.len());
                self.add("divergent", format!("{guest}: {rows} rows, {list} items"));
            }
        }
        let unsynced = rows
            .iter()
            .filter(|row| row.platform == "guest" && !row.is_synced);
        let unsynced: Vec<_> = unsynced
            .map(|row| format!("{} #{}", row.owner, row.sequence))
            .collect();
        unsynced
            .into_iter()
            .for_each(|what| self.add("unsynced", what));
    }

    /// What a node tells against rows.
    async fn answers(&mut self, node: &Client, rows: &[Row]) {
        for (guest, rows) in by_guest(rows) {
            let history = node.history(&guest).await;
            let told: Vec<_> = history
                .iter()
                .map(|it| {
                    (
                        it["id"].as_str().unwrap(),
                        it["sequence"].as_u64().unwrap(),
                        words(it),
                    )
                })
                .collect();
            let there: Vec<_> = rows
                .iter()
                .map(|row| (&*row.id, row.sequence, (&*row.role, &*row.content)))
                .collect();
            if told != there {
                let (told, there) = (told.len(), there.len());
                self.add(
                    "unread",
                    format!("{guest}: {there} rows, {told} in the history"),
                );
            }
            let session = session(node, &guest).await;
            let items = session["messages"].as_array().unwrap();
            let told: Vec<_> = items.iter().map(words).collect();
            let there: Vec<_> = rows.iter().map(|row| (&*row.role, &*row.content)).collect();
            if told != there || session["source"] != "redis" {
                let source = &session["source"];
                self.add("unread", format!("the session of {guest}, from {source}"));
            }
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in KINDS {
            write!(f, "{kind} {} ", self.count(kind))?;
        }
        for (kind, found) in &self.0 {
            for one in found.iter().take(SHOWN) {
                write!(f, "\n  {kind}: {one}")?;
            }
        }
        Ok(())
    }
}

/// The list of a guest as a node tells it. One that has not noticed yet that Redis is back, because another has repaired the
/// lists, is given time to.
async fn session(node: &Client, guest: &str) -> Value {
    let since = Instant::now();
    loop {
        let session = node.get(&format!("/v1/guest/session/{guest}")).await.ok();
        if session["source"] == "redis" || since.elapsed() > NOTICE {
            return session;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The rows of guests that are still guests, in the order of the sequences.
fn by_guest(rows: &[Row]) -> BTreeMap<String, Vec<&Row>> {
    let mut guests: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.platform == "guest") {
        guests.entry(row.owner.clone()).or_default().push(row);
    }
    guests
}

fn words(message: &Value) -> (&str, &str) {
    let text = |field: &str| message[field].as_str().unwrap_or_default();
    (text("role"), text("content"))
}

/// One line for each counter that differs from the messages, and for each row that lacks another one.
const COUNTERS: &str = "
    SELECT 'conversation ' || c.id || ' of ' || c.user_id || ' says ' || c.message_count || ' of ' || count(m.id)
        FROM conversation_cache c LEFT JOIN message_cache m ON m.conversation_id = c.id GROUP BY c.id
        HAVING c.message_count <> count(m.id) OR c.total_tokens <> coalesce(sum(m.tokens), 0)
    UNION ALL SELECT 'usage of ' || user_id || ': ' || coalesce(u.cache_misses, -1) || ' of ' || coalesce(m.count, -1)
        FROM usage_metrics u FULL JOIN (SELECT c.user_id, count(*), sum(m.tokens) AS tokens,
            sum(m.tokens) FILTER (WHERE m.role = 'assistant') AS output
            FROM conversation_cache c JOIN message_cache m ON m.conversation_id = c.id GROUP BY 1) m USING (user_id)
        WHERE (u.cache_misses, u.total_requests, u.total_tokens, u.total_output_tokens) IS DISTINCT FROM
            (m.count, m.count, m.tokens, coalesce(m.output, 0))
    UNION ALL SELECT 'mapping of ' || coalesce(m.id, p.id) FROM message_cache m
        FULL JOIN cache_content_mapping p ON p.cache_id = m.id WHERE m.id IS NULL OR p.id IS NULL
    UNION ALL SELECT 'vector of ' || coalesce(m.id, v.message_id) FROM message_cache m
        FULL JOIN (SELECT message_id FROM cache_embeddings UNION ALL SELECT message_id FROM embedding_notes) v
            ON v.message_id = m.id WHERE m.id IS NULL OR v.message_id IS NULL
    UNION ALL SELECT 'cache_metrics says ' || total_entries FROM (SELECT total_entries FROM cache_metrics
        ORDER BY recorded_at DESC LIMIT 1) last WHERE total_entries <> (SELECT count(*) FROM message_cache)";
