//! What is not as it should be.

use super::stores::{Row, Stores, moment};
use super::{Entry, Fate, SHOWN};
use crate::client::Client;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

/// How long a node may take to see that its lists are there again.
const NOTICE: Duration = Duration::from_secs(20);

/// What is not as it should be.
#[derive(Debug, Default)]
pub struct Findings(BTreeMap<&'static str, Vec<String>>);

/// What can be wrong.
pub const KINDS: [&str; 11] = [
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

    pub(super) fn is_clean(&self) -> bool {
        self.0.is_empty()
    }

    /// How often this is wrong.
    pub fn count(&self, kind: &str) -> usize {
        self.0.get(kind).map_or(0, Vec::len)
    }

    /// What was answered against what is stored.
    pub(super) fn compare(&mut self, entries: &[Entry], rows: &[Row]) {
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
                && ((row.role.as_str(), row.sent_at) != (entry.role, Some(entry.sent_at))
                    || !row.is_whole)
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
    pub(super) async fn counters(&mut self, stores: &impl Stores) {
        for line in stores.counters().await {
            self.add("counters", line);
        }
    }

    /// Raw lists against rows.
    pub(super) async fn lists(&mut self, stores: &impl Stores, rows: &[Row]) {
        let mut expected = by_guest(rows);
        for guest in stores.listed_guests().await {
            expected.entry(guest).or_default();
        }
        let guests: Vec<_> = expected.keys().cloned().collect();
        let lists = stores.lists(&guests).await;
        for ((guest, rows), list) in expected.iter().zip(lists) {
            let rows: Vec<_> = rows.iter().map(|row| said(row)).collect();
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
    pub(super) async fn answers(&mut self, node: &Client, rows: &[Row], list_store: &str) {
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
                .map(|row| (&*row.id, row.sequence, said(row)))
                .collect();
            if told != there {
                let (told, there) = (told.len(), there.len());
                self.add(
                    "unread",
                    format!("{guest}: {there} rows, {told} in the history"),
                );
            }
            let session = session(node, &guest, list_store).await;
            let items = session["messages"].as_array().unwrap();
            let told: Vec<_> = items.iter().map(words).collect();
            let there: Vec<_> = rows.iter().map(|row| said(row)).collect();
            if told != there || session["source"] != list_store {
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

/// The list of a guest as a node tells it. One that has not noticed yet that its list store is back, because another has repaired the
/// lists, is given time to.
async fn session(node: &Client, guest: &str, list_store: &str) -> Value {
    let since = Instant::now();
    loop {
        let session = node.get(&format!("/v1/guest/session/{guest}")).await.ok();
        if session["source"] == list_store || since.elapsed() > NOTICE {
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

/// A role, words and the client's time.
type Said<'a> = (&'a str, &'a str, Option<DateTime<Utc>>);

fn words(message: &Value) -> Said<'_> {
    let text = |field: &str| message[field].as_str().unwrap_or_default();
    (text("role"), text("content"), moment(text("timestamp")))
}

fn said(row: &Row) -> Said<'_> {
    (&row.role, &row.content, row.sent_at)
}
