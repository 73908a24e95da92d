//! What verify found, table by table, as people and programs read it.

use guestbook_core::Timestamp;
use serde::{Deserialize, Serialize};

/// Differences named per table; more are counted only, so that a report of a lost store stays readable.
const NAMED: usize = 1000;

/// The seven places of a message, in the order of its steps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuditedTable {
    /// The expiring lists.
    Lists,
    /// `conversation_cache`.
    Conversations,
    /// `message_cache`.
    Messages,
    /// `cache_embeddings`.
    Embeddings,
    /// `usage_metrics`.
    Usage,
    /// `cache_content_mapping`.
    Mappings,
    /// `cache_metrics`.
    Metrics,
}

impl AuditedTable {
    /// All seven.
    pub const ALL: [Self; 7] = [
        Self::Lists,
        Self::Conversations,
        Self::Messages,
        Self::Embeddings,
        Self::Usage,
        Self::Mappings,
        Self::Metrics,
    ];

    /// The table, or what stands for one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lists => "guest:{id} lists",
            Self::Conversations => "conversation_cache",
            Self::Messages => "message_cache",
            Self::Embeddings => "cache_embeddings",
            Self::Usage => "usage_metrics",
            Self::Mappings => "cache_content_mapping",
            Self::Metrics => "cache_metrics",
        }
    }
}

/// What verify found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct VerifyReport {
    /// Whether nothing is missing anywhere.
    pub ok: bool,
    /// The guest that was looked at; `null` when it was everything.
    pub guest: Option<String>,
    /// When it was looked at.
    pub checked_at: String,
    /// The seven places, in the order of the steps.
    pub tables: Vec<TableReport>,
    /// What `--repair` did, a sentence each.
    pub repaired: Vec<String>,
}

/// One of the seven places.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct TableReport {
    /// Its name.
    pub table: String,
    /// Rows the other stores imply. For the lists: messages in live lists. For the metrics: hours with messages.
    pub expected: u64,
    /// Rows that are there.
    pub found: u64,
    /// What is wrong, at most 1,000 of it.
    pub differences: Vec<Difference>,
    /// How many further differences are not named.
    pub more_differences: u64,
    /// How many of the differences are no more than that the store did not answer: of these rows nothing is known.
    #[serde(default)]
    pub unseen: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Difference {
    /// The guest or user concerned, where there is one.
    pub owner: Option<String>,
    /// The conversation, message or row concerned, where there is one.
    pub id: Option<String>,
    /// The message's place in its conversation.
    pub sequence: Option<u64>,
    /// What is wrong, and why where that is known.
    pub reason: String,
}

impl VerifyReport {
    pub(super) fn new(
        guest: Option<String>,
        at: Timestamp,
        tables: [TableReport; 7],
        repaired: Vec<String>,
    ) -> Self {
        let mut tables = Vec::from(tables);
        for (place, table) in AuditedTable::ALL.into_iter().zip(&mut tables) {
            table.table = place.name().to_owned();
        }
        Self {
            ok: tables.iter().all(TableReport::is_ok),
            guest,
            checked_at: at.to_string(),
            tables,
            repaired,
        }
    }

    /// Whether every place could be looked at.
    pub fn is_complete(&self) -> bool {
        self.tables.iter().all(|table| table.unseen == 0)
    }

    /// The table of one place.
    pub fn table(&self, place: AuditedTable) -> &TableReport {
        &self.tables[place as usize]
    }
}

impl TableReport {
    /// Whether nothing is wrong here.
    pub fn is_ok(&self) -> bool {
        self.differences.is_empty() && self.more_differences == 0 && self.expected == self.found
    }

    pub(super) fn differ(&mut self, difference: Difference) {
        if self.differences.len() < NAMED {
            self.differences.push(difference);
        } else {
            self.more_differences += 1;
        }
    }
}
