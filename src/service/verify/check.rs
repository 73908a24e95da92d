//! The checks: pure functions over data read from the stores.

use super::report::{AuditedTable, Difference, TableReport};
use guestbook_core::error::{Error, ErrorKind};
use guestbook_core::{
    ConversationId, Digest, GuestId, MessageId, ModelId, Role, Timestamp, Ttl, content_hash,
};
use guestbook_storage::database::{AuditedMessage, ConversationAudit, Repair, StoredSettings};
use guestbook_storage::list_cache::{ListPage, Origin};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The settings and time of one pass.
pub(super) struct AuditContext {
    /// When the pass began, before everything in flight was marked as synced: later messages may still be in flight.
    pub(super) began: Timestamp,
    pub(super) now: Timestamp,
    /// The TTL of the lists, and whether it was changed.
    pub(super) settings: StoredSettings,
    pub(super) epoch: Uuid,
    pub(super) model: Option<ModelId>,
    /// The dimension of the current model's vectors.
    pub(super) dimension: u64,
}

impl AuditContext {
    pub(super) fn ttl(&self) -> Ttl {
        let stored = self.settings.held.as_ref();
        stored.map_or(Ttl::DEFAULT, |stored| stored.list_ttl)
    }
}

/// How a difference can be repaired.
#[derive(Clone, Debug)]
pub(super) enum RepairAction {
    Row(Repair),
    List(GuestId),
    Vectors,
}

/// A guest's list as found, its contents as hashes.
pub(super) enum AuditedList {
    None,
    Unreadable(Error),
    List {
        origin: Origin,
        from: u64,
        /// Whether it has messages unknown to the tables.
        is_ahead: bool,
        items: Vec<(Role, Digest, Timestamp)>,
    },
}

/// The counts of a pass.
#[derive(Default)]
pub(super) struct AuditTotals {
    pub(super) tables: [TableReport; 7],
    pub(super) fixes: Vec<RepairAction>,
    /// The UTC hours in which the messages seen were stored.
    pub(super) hours: BTreeSet<Timestamp>,
}

/// Items of a list, their contents as hashes.
pub(super) fn hashed(page: &ListPage) -> Vec<(Role, Digest, Timestamp)> {
    let items = page.items.iter();
    let hashed = items.map(|item| {
        let hash = content_hash(item.content.as_str());
        (item.role, hash, item.timestamp)
    });
    hashed.collect()
}

impl AuditTotals {
    pub(super) fn count(&mut self, place: AuditedTable, expected: u64, found: u64) {
        let table = &mut self.tables[place as usize];
        table.expected += expected;
        table.found += found;
    }

    pub(super) fn differ(
        &mut self,
        place: AuditedTable,
        conversation_audit: &ConversationAudit,
        message: Option<&AuditedMessage>,
        reason: String,
    ) {
        let id = |conversation: ConversationId, message: Option<MessageId>| match message {
            Some(message) => message.to_string(),
            None => conversation.to_string(),
        };
        let external_id = message.and_then(|message| message.external_id.as_ref());
        let reason = match external_id {
            Some(id) => format!("{reason} (its client knows it as {id:?})"),
            None => reason,
        };
        self.tables[place as usize].differ(Difference {
            owner: Some(conversation_audit.conversation.owner.to_string()),
            id: Some(id(
                conversation_audit.conversation.id,
                message.map(|message| message.id),
            )),
            sequence: message.map(|message| message.sequence),
            reason,
        });
    }

    /// Counts a list that could not be read. A damaged list was checked; of an unavailable one nothing is known.
    pub(super) fn unreadable(&mut self, cause: &Error) {
        if cause.kind() != ErrorKind::Corrupt {
            self.tables[AuditedTable::Lists as usize].unseen += 1;
        }
    }

    /// The list store could not even be scanned.
    pub(super) fn lists_unreadable(&mut self, cause: &Error) {
        self.unreadable(cause);
        self.tables[AuditedTable::Lists as usize].differ(Difference {
            owner: None,
            id: None,
            sequence: None,
            reason: format!("the lists cannot be read: {cause}"),
        });
    }

    pub(super) fn merge(&mut self, one: Self) {
        for (table, more) in self.tables.iter_mut().zip(one.tables) {
            table.expected += more.expected;
            table.found += more.found;
        }
        self.hours.extend(one.hours);
    }
}
