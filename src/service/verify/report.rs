//! The report of verify, table by table, for people and programs.

use guestbook_core::Timestamp;
use serde::{Deserialize, Serialize};

/// Differences named per table; further ones are only counted, so that the report of a lost store stays readable.
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

/// The report of a verify.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct VerifyReport {
    /// Whether no difference was found.
    pub ok: bool,
    /// The guest verified; `null` for the whole store.
    pub guest: Option<String>,
    /// When the verify ran.
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
    /// Rows that the other stores imply. For the lists: messages in live lists. For the metrics: hours with messages.
    pub expected: u64,
    /// Rows found.
    pub found: u64,
    /// The differences, at most 1,000.
    pub differences: Vec<Difference>,
    /// The number of differences not named.
    pub more_differences: u64,
    /// Differences that are only rows of an unavailable store: nothing is known of them.
    #[serde(default)]
    pub unseen: u64,
}

/// One difference.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Difference {
    /// The guest or user concerned, if any.
    pub owner: Option<String>,
    /// The conversation, message or row concerned, if any.
    pub id: Option<String>,
    /// The message's place in its conversation.
    pub sequence: Option<u64>,
    /// The difference, and its cause where known.
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

    /// Whether every place could be read.
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
