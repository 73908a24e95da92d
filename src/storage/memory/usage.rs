//! `usage_metrics`: one row per owner. An id may be a guest's and a user's at once; then both share the row, and an erasure
//! subtracts only the counters of the guest's conversation.

use super::tables::{ChatRow, MemoryTables};
use guestbook_core::{OwnerId, Role, RowState, Timestamp, Usage};

impl MemoryTables {
    /// Counts one stored message; returns whether it began the row.
    pub(super) fn count_usage(
        &mut self,
        owner: OwnerId,
        role: Role,
        tokens: u64,
        at: Timestamp,
    ) -> RowState {
        let state = match self.usage.contains_key(&owner) {
            true => RowState::Updated,
            false => RowState::Created,
        };
        let row = self.usage.entry(owner).or_default();
        touch(row, at);
        row.count(role, tokens);
        row.monthly_requests_used += 1;
        state
    }

    /// The counters of a conversation's messages.
    pub(super) fn counted(&self, chat: &ChatRow) -> Usage {
        let mut counted = Usage::default();
        for row in self.rows(chat) {
            counted.count(row.message.role, row.tokens);
        }
        counted
    }

    /// Takes a removed conversation out of its guest's counters; returns what was taken: the whole row, unless the same id also owns
    /// conversations as a user. Then only the counters of the conversation's messages are taken.
    pub(super) fn take_usage(
        &mut self,
        owner: &OwnerId,
        counted: Usage,
        at: Timestamp,
    ) -> TakenUsage {
        if !self.is_user(owner) {
            return match self.usage.remove(owner) {
                Some(row) => TakenUsage::Row(row),
                None => TakenUsage::Nothing,
            };
        }
        match self.usage.get_mut(owner) {
            Some(row) if counted.total_requests > 0 => {
                touch(row, at);
                subtract(row, &counted);
                TakenUsage::Part(Usage {
                    updated_at: at,
                    ..counted
                })
            }
            _ => TakenUsage::Nothing,
        }
    }

    /// Adds counters to an owner's row, which is created if missing.
    pub(super) fn add_usage(&mut self, owner: &OwnerId, more: &Usage, at: Timestamp) {
        let row = self.usage.entry(owner.clone()).or_default();
        touch(row, at);
        row.total_requests += more.total_requests;
        row.cache_hits += more.cache_hits;
        row.cache_misses += more.cache_misses;
        row.lookup_misses += more.lookup_misses;
        row.tokens_saved += more.tokens_saved;
        row.total_input_tokens += more.total_input_tokens;
        row.total_output_tokens += more.total_output_tokens;
        // Requests of a past month are not counted.
        if more.updated_at.same_month(at) {
            row.monthly_requests_used += more.monthly_requests_used;
        }
    }
}

/// The outcome of [`MemoryTables::take_usage`].
pub(super) enum TakenUsage {
    /// The row was removed.
    Row(Usage),
    /// The row remains, less these counters.
    Part(Usage),
    /// There was nothing to take.
    Nothing,
}

/// Updates the time of change; the monthly count restarts if the last change was in another UTC month.
pub(super) fn touch(row: &mut Usage, at: Timestamp) {
    if !row.updated_at.same_month(at) {
        row.monthly_requests_used = 0;
    }
    row.updated_at = at;
}

/// Lookups and the monthly count stay: they belong to no message, and what was used this month stays used.
fn subtract(row: &mut Usage, less: &Usage) {
    let minus = |counter: &mut u64, less: u64| *counter = counter.saturating_sub(less);
    minus(&mut row.total_requests, less.total_requests);
    minus(&mut row.cache_misses, less.cache_misses);
    minus(&mut row.total_input_tokens, less.total_input_tokens);
    minus(&mut row.total_output_tokens, less.total_output_tokens);
}
