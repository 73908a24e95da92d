//! Checks the derived tables beside the conversations: usage, lists without a chat, rows without an owner, the hourly metrics.

use super::check::{AuditTotals, RepairAction};
use super::report::{AuditedTable, Difference, TableReport};
use guestbook_core::{GuestId, Timestamp};
use guestbook_storage::database::{MetricsAudit, Orphan, Repair, UsageAudit};

impl AuditTotals {
    /// Counts an owner's usage if it is right; otherwise leaves the totals unchanged.
    pub(super) fn try_usage(&mut self, audit: &UsageAudit) -> bool {
        let mut one = Self::default();
        one.usage(audit);
        let well = one.tables.iter().all(TableReport::is_ok);
        if well {
            self.merge(one);
        }
        well
    }

    /// Counts an owner's usage, with what is wrong about it.
    pub(super) fn usage(&mut self, audit: &UsageAudit) {
        let counted = &audit.counted;
        let expected = u64::from(counted.total_requests > 0);
        self.count(
            AuditedTable::Usage,
            expected,
            u64::from(audit.row.is_some()),
        );
        let reason = match &audit.row {
            None if expected == 0 => return,
            None => format!("there is no row for {} messages", counted.total_requests),
            Some(_) if expected == 0 => "there is a row, and no message of its owner".to_owned(),
            Some(row) => {
                let found = (
                    row.total_requests,
                    row.cache_misses,
                    row.total_input_tokens,
                    row.total_output_tokens,
                );
                // Lookups of the prompt cache are requests too, without a message.
                let lookups = row.cache_hits + row.lookup_misses;
                let should = (
                    counted.total_requests + lookups,
                    counted.cache_misses + row.lookup_misses,
                    counted.total_input_tokens,
                    counted.total_output_tokens,
                );
                if found == should {
                    return;
                }
                format!(
                    "requests, misses, input and output tokens are {found:?} and should be {should:?}"
                )
            }
        };
        self.tables[AuditedTable::Usage as usize].differ(Difference {
            owner: Some(audit.owner.to_string()),
            id: None,
            sequence: None,
            reason,
        });
        self.fixes
            .push(RepairAction::Row(Repair::Usage(audit.clone())));
    }

    /// A list without a chat.
    pub(super) fn stray_list(&mut self, guest: &GuestId) {
        self.count(AuditedTable::Lists, 0, 1);
        self.tables[AuditedTable::Lists as usize].differ(Difference {
            owner: Some(guest.to_string()),
            id: None,
            sequence: None,
            reason: "there is a list, and no chat it could be a view of".into(),
        });
        self.fixes.push(RepairAction::List(guest.clone()));
    }

    /// Rows without an owner.
    pub(super) fn orphans(&mut self, orphans: Vec<Orphan>, has_model: bool) {
        for orphan in orphans {
            let place = match orphan.table {
                "conversation_cache" => AuditedTable::Conversations,
                "message_cache" => AuditedTable::Messages,
                "cache_content_mapping" => AuditedTable::Mappings,
                _ => AuditedTable::Embeddings,
            };
            self.count(place, 0, u64::from(orphan.table != "conversation_cache"));
            self.tables[place as usize].differ(Difference {
                owner: None,
                id: Some(orphan.id.clone()),
                sequence: None,
                reason: format!("{}: {}", orphan.table, orphan.reason),
            });
            if has_model && orphan.table == "cache_embeddings" {
                self.fixes.push(RepairAction::Vectors); // it may have taken the place of a message's own vector
            }
            self.fixes.push(RepairAction::Row(Repair::Orphan(orphan)));
        }
    }

    /// The hourly metrics of the whole store.
    pub(super) fn metrics(&mut self, audit: &MetricsAudit) {
        self.count(
            AuditedTable::Metrics,
            audit.hours_expected,
            audit.hours_found,
        );
        for hour in &audit.missing {
            self.differ_metrics(format!(
                "no row for the hour {hour}, in which messages were stored"
            ));
        }
        if audit.entries != audit.messages {
            let (entries, messages) = (audit.entries, audit.messages);
            self.differ_metrics(format!(
                "total_entries of the newest row is {entries}, and there are {messages} messages"
            ));
        }
        if audit.requests < audit.messages {
            let (requests, messages) = (audit.requests, audit.messages);
            self.differ_metrics(format!(
                "total_requests sums to {requests}, fewer than the {messages} messages there are"
            ));
        }
    }

    /// The missing hours of one guest's messages.
    pub(super) fn hours_missing(&mut self, expected: u64, missing: &[Timestamp]) {
        self.count(
            AuditedTable::Metrics,
            expected,
            expected - missing.len() as u64,
        );
        for hour in missing {
            self.differ_metrics(format!(
                "no row for the hour {hour}, in which messages were stored"
            ));
        }
    }

    fn differ_metrics(&mut self, reason: String) {
        self.tables[AuditedTable::Metrics as usize].differ(Difference {
            owner: None,
            id: None,
            sequence: None,
            reason,
        });
        self.fixes.push(RepairAction::Row(Repair::Metrics));
    }
}
