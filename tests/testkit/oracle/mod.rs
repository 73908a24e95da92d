//! What was sent, what was answered, and what is there in the end: the one checker of every test that breaks something.
//!
//! [`Load`] sends and notes, whatever happens to the servers meanwhile; [`Oracle::assert_clean`] then compares the notes with
//! every store of a pair ([`Stores`]). `tests/cluster/damage.rs` shows that each kind of fault is noticed.

mod dice;
mod findings;
mod form;
mod load;
mod on_disk;
mod stores;

pub use dice::Dice;
pub use findings::{Findings, KINDS};
pub use form::{given, is_long, needed, rounds, within};
pub use load::{Load, Nodes, Plan, Talker};
pub use on_disk::{OnDisk, sessions};
pub use stores::{Row, Stores};

use crate::client::Client;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(90);
/// The client's times: of the first message, and between two.
const FIRST_SENT_AT: DateTime<Utc> = DateTime::from_timestamp(1_766_318_400, 0).unwrap();
const BETWEEN: Duration = Duration::from_millis(1_001);
/// Examples shown of each kind of fault.
const SHOWN: usize = 4;

/// A message, from before it is sent.
#[derive(Clone, Debug)]
pub struct Entry {
    pub client: usize,
    pub guest: String,
    /// Chosen by the client; without one the message may not be sent again.
    pub id: Option<Uuid>,
    pub role: &'static str,
    /// Unlike any other.
    pub content: String,
    /// The client's time, unlike any other as well.
    pub sent_at: DateTime<Utc>,
    fate: Fate,
    /// Covered by a deletion that was answered.
    gone: bool,
    /// Whose it is after a migration that was answered.
    user: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Fate {
    Sent,
    /// The connection died, or the answer was a 503 or 507: it may be stored, whole and once, or not.
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
pub struct Oracle(Mutex<Book>);

/// The counts of a run so far.
#[derive(Clone, Debug, Default)]
pub struct Book {
    entries: Vec<Entry>,
    pub saved: usize,
    /// Which messages they were, in their order.
    answered: Vec<usize>,
    /// Of these, how many said that the list follows later.
    pub pending: usize,
    pub replayed: usize,
    /// Answers of 503 and 507 that said when to try again.
    pub unavailable: usize,
    /// Of these, how many said that the disk is full.
    pub full: usize,
    pub died: usize,
    pub reads: usize,
    pub slowest: Duration,
    /// Answers that must never come: other errors, a 503 or 507 without Retry-After, none at all.
    pub wrong: Vec<String>,
}

impl Oracle {
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known so far, to go on from it more than once.
    pub fn copy(&self) -> Self {
        Self(Mutex::new(self.book().clone()))
    }

    /// Notes a message that is about to be sent; its number.
    pub fn sent(&self, client: usize, guest: &str, with_id: bool) -> usize {
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
            sent_at: FIRST_SENT_AT + BETWEEN * u32::try_from(number).unwrap(),
            fate: Fate::Sent,
            gone: false,
            user: None,
        });
        number
    }

    pub fn entry(&self, number: usize) -> Entry {
        self.book().entries[number].clone()
    }

    /// Notes that it is not known what became of a message.
    pub fn unknown(&self, number: usize) {
        self.book().entries[number].fate = Fate::Unknown;
    }

    /// Notes that a message was answered as saved.
    pub fn saved(&self, number: usize, answer: &Value) {
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
        book.answered.push(number);
    }

    /// Takes back all answers after so many that were saved: a machine without power would not have given them.
    pub fn suspect_since(&self, saved: usize) {
        let mut book = self.book();
        for number in book.answered.split_off(saved) {
            book.entries[number].fate = Fate::Unknown;
        }
        book.saved = saved;
    }

    /// Notes that a guest's chat was answered as deleted.
    pub fn deleted(&self, guest: &str) {
        let mut book = self.book();
        let of_guest = |entry: &&mut Entry| entry.guest == guest && entry.user.is_none();
        book.entries
            .iter_mut()
            .filter(of_guest)
            .for_each(|entry| entry.gone = true);
    }

    /// Notes that a guest's chat was answered as migrated.
    pub fn migrated(&self, guest: &str, user: &str) {
        let mut book = self.book();
        let of_guest = |entry: &&mut Entry| entry.guest == guest && !entry.gone;
        book.entries
            .iter_mut()
            .filter(of_guest)
            .for_each(|entry| entry.user = entry.user.take().or(Some(user.to_owned())));
    }

    /// Waits until the counts are as wanted.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Book) -> bool) {
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
    pub async fn progress(&self, more: usize) {
        let wanted = self.book().saved + more;
        self.until("more saved messages", |book| book.saved >= wanted)
            .await;
    }

    /// Waits until the lists are as the tables say and are noted as such, asking no node; how long it took.
    pub async fn until_listed(&self, stores: &impl Stores) -> Duration {
        let since = Instant::now();
        loop {
            let mut found = Findings::default();
            found.lists(stores, &stores.rows().await).await;
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

    /// Compares the oracle with every store once the lists have marked as synced: by SQL, by LRANGE, by asking every node, and by
    /// `guestbook verify`.
    pub async fn assert_clean(&self, stores: &impl Stores, nodes: &[&Client]) {
        self.until_listed(stores).await;
        let found = self.findings(stores, nodes).await;
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
        let (code, said) = stores.verify().await;
        assert_eq!(code, 0, "{said}");
    }

    /// Whether the tables alone are not as they were answered.
    pub async fn differs(&self, stores: &impl Stores) -> bool {
        let (rows, mut found) = (stores.rows().await, Findings::default());
        found.compare(&self.book().entries, &rows);
        !found.is_clean()
    }

    /// Everything that is not as it was answered, or not as another store has it.
    pub async fn findings(&self, stores: &impl Stores, nodes: &[&Client]) -> Findings {
        let rows = stores.rows().await;
        let mut found = Findings::default();
        found.compare(&self.book().entries, &rows);
        found.counters(stores).await;
        found.lists(stores, &rows).await;
        for node in nodes {
            found.answers(node, &rows, stores.list_store()).await;
        }
        found
    }

    /// The rows of messages that were sent and not answered as saved, so far.
    pub fn unanswered<'a>(&self, rows: &'a [Row]) -> Vec<&'a Row> {
        let book = self.book();
        let is_saved = |entry: &&Entry| matches!(entry.fate, Fate::Saved(_));
        let saved = book.entries.iter().filter(is_saved);
        let saved: HashSet<&str> = saved.map(|entry| &*entry.content).collect();
        rows.iter()
            .filter(|row| !saved.contains(&*row.content))
            .collect()
    }

    fn counts(&self) -> String {
        let book = self.book();
        let unknown = book.entries.iter();
        let unknown = unknown.filter(|entry| entry.fate == Fate::Unknown).count();
        format!(
            "sent {} saved {} (list pending {}, replayed {}) unknown {unknown}; 503 {} 507 {} died {} reads {} slowest {:?}",
            book.entries.len(),
            book.saved,
            book.pending,
            book.replayed,
            book.unavailable - book.full,
            book.full,
            book.died,
            book.reads,
            book.slowest
        )
    }
}
